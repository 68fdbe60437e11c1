"""Looking through what waits in a queue, and taking out what was found.

A look is a copy of references, so it may take its time while the queue goes on: what was found is
looked up again when something is done to it, and what has left meanwhile is left alone.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from heapq import heapify, merge
from itertools import islice
from typing import Any, Final, TypeAlias

from posthouse.core.filters import Filter
from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.rich import RichOrder
from posthouse.core.stubs import is_stub
from posthouse.records import Entry

SORT_STEP: Final = 10_000
Key: TypeAlias = "Callable[[Entry], Any] | None"


def standing(queue: QueueState) -> tuple[list[Entry], Key]:
    """What may be taken, but for limits, and the key that puts it in the order of taking."""
    if queue.rich is not None:
        return queue.rich.standing(), queue.rich.order_key
    if not queue.returned:
        return list(queue.ready), None
    return [*(entry for _, entry in sorted(queue.returned)), *queue.ready], rank_of


def next_standing(queue: QueueState, most: int) -> list[Entry]:
    """The first of `standing`, in order."""
    if queue.rich is not None:
        return queue.rich.next_standing(most)
    if not queue.returned:
        return list(islice(queue.ready, most))
    returned = (entry for _, entry in sorted(queue.returned))
    return list(islice(merge(returned, queue.ready, key=rank_of), most))


def everything(queue: QueueState) -> tuple[list[Entry], Key]:
    """All that waits or is delayed, and the key that puts it in order (None: it is)."""
    rich = queue.rich
    entries, key = (rich.unordered(), rich.order_key) if rich is not None else standing(queue)
    if not queue.delayed:
        return entries, key
    late = [entry for _, _, entry in queue.delayed]
    entries += late if rich is None else rich.seen(late)
    return entries, rank_of if rich is None else key


def in_steps(entries: list[Entry], key: Key, after: Any = None) -> Iterator[Entry | None]:
    """The entries by the key (None: as they are); a None wherever a little work brought none.

    With a key, only those above ``after`` (if that is not None). What is nearly in order already
    costs little.
    """
    if key is None:
        yield from entries
        return
    groups: list[list[list[Entry]]] = []
    for start in range(0, len(entries), SORT_STEP):
        run = entries[start : start + SORT_STEP]
        if after is not None:
            run = [entry for entry in run if key(entry) > after]
        if not run:
            yield None
            continue
        run.sort(key=key)
        last = groups[-1][-1][-1] if groups else None
        if last is not None and key(last) <= key(run[0]):
            groups[-1].append(run)
        else:
            groups.append([run])
        yield None
    chains = [(entry for run in group for entry in run) for group in groups]
    yield from chains[0] if len(chains) == 1 else merge(*chains, key=key)


def order_key(queue: QueueState) -> Callable[[Entry], Any]:
    """What puts messages in the order of taking; in a fair queue, of arrival."""
    rich = queue.rich
    return rank_of if rich is None or rich.order_key is None else rich.order_key


def candidates(queue: QueueState, where: Filter | None) -> list[Entry] | None:
    """What an index says may match, waiting or delayed; None where none helps."""
    rich = queue.rich
    if rich is None or rich.index is None or where is None:
        return None
    return rich.index.candidates(where.term)


def withdraw(
    queue: QueueState, entries: list[Entry], *, delayed: bool = True, again: bool = True
) -> list[tuple[Entry, int]]:
    """Take those that still wait (or are ``delayed``) out of the order: each with its due time.

    In the order given; ``again`` says that they may come again under the same
    rank. They are still counted, and so are their attempts.
    """
    ranks = {rank_of(entry) for entry in entries}
    if not ranks:
        return []
    there: dict[int, tuple[Entry, int]] = {}
    if queue.pages is not None:
        there = {rank_of(entry): (entry, 0) for entry in queue.leave_pages(entries)}
    if queue.cold is not None and len(there) < len(entries):
        by_rank = {rank_of(entry): entry for entry in entries}
        gone = queue.cold.withdraw(entries, delayed=delayed)
        there |= {rank: (by_rank[rank], due_ns) for rank, due_ns in gone.items()}
    if len(there) == len(entries):
        return [there[rank_of(entry)] for entry in entries]
    if queue.rich is not None:
        # Not the entries that were in the order: these may be stubs, and are no more than those.
        whole = {rank_of(entry): entry for entry in entries}
        found = there | {
            (rank := rank_of(entry)): (whole[rank] if is_stub(entry) else entry, due)
            for entry, due in queue.rich.withdraw(ranks, again=again)
        }
    else:
        found = there | _from_ready(queue, ranks)
        if queue.returned and len(found) < len(ranks):
            found |= {rank: (entry, 0) for rank, entry in queue.returned if rank in ranks}
            queue.returned = [row for row in queue.returned if row[0] not in ranks]
            heapify(queue.returned)
        if delayed and queue.delayed and len(found) < len(ranks):
            late = {rank: (entry, due) for due, rank, entry in queue.delayed if rank in ranks}
            found |= late
            if late:
                queue.delayed[:] = [row for row in queue.delayed if row[1] not in late]
                heapify(queue.delayed)
    return [found[rank] for entry in entries if (rank := rank_of(entry)) in found]


def _from_ready(queue: QueueState, ranks: set[int]) -> dict[int, tuple[Entry, int]]:
    """Out of the part of ``ready`` where they are; turning the rest aside costs next to nothing."""
    ready = queue.ready
    first = bisect_left(ready, min(ranks), key=rank_of)
    end = bisect_right(ready, max(ranks), key=rank_of)
    ready.rotate(-first)
    part = [ready.popleft() for _ in range(end - first)]
    ready.extendleft(reversed([entry for entry in part if rank_of(entry) not in ranks]))
    ready.rotate(first)
    return {rank: (entry, 0) for entry in part if (rank := rank_of(entry)) in ranks}


def take(queue: QueueState, entries: list[Entry], now_ns: int) -> list[Entry]:
    """Take those that may be taken now out of the order, as ``pop_many`` does."""
    rich = queue.rich
    if rich is not None:
        if queue.cold is not None or queue.pages is not None:
            _bring(queue, rich, entries)
        return rich.take_these(entries, now_ns)
    return [entry for entry, _ in withdraw(queue, entries, delayed=False)]


def _bring(queue: QueueState, rich: RichOrder, entries: list[Entry]) -> None:
    """Let those of these messages into the order that wait on disk only."""
    found = {rank_of(entry): entry for entry in queue.leave_pages(entries)}
    if queue.cold is not None:
        gone = queue.cold.withdraw(entries, delayed=False)
        found |= {rank: entry for entry in entries if (rank := rank_of(entry)) in gone}
    for entry in found.values():
        rich.arrive(entry, 0)
