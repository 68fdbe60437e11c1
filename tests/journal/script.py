"""A program that uses every part of the log, with a ledger of what it was told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from posthouse.errors import PosthouseError
from posthouse.journal.files import Files
from posthouse.records import Bound, Copied, Delivered, Put, Remembered, Settled
from tests.journal.logs import (
    SMALL,
    Bench,
    declared,
    entries,
    entry,
    live_messages,
    salts,
    small_options,
)


@dataclass
class Ledger:
    """What the program did, and what it was told of it.

    Attributes:
        attempted: every id it ever put.
        acknowledged: ids whose put it was told is durable, and which it never settled.
        settling: ids it settled, told or not.
        settled: ids whose settlement it was told is durable.
        pairs: ids put together in one transaction.
        epochs: of its openings.
        errors: what it was told instead.
    """

    attempted: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    settling: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    errors: list[PosthouseError] = field(default_factory=list)

    def check(self, live: set[int]) -> None:
        """What a reopened log holds, against what the program was told."""
        lost = self.acknowledged - self.settling - live
        assert not lost, f"acknowledged and lost: {sorted(lost)}"
        assert not live - self.attempted, "never put"
        assert not live & self.settled, "durably settled and back again"
        for first, second in self.pairs:
            if not {first, second} & self.settling:
                assert (first in live) == (second in live), "half a transaction"


async def run(
    files: Files, ledger: Ledger, run_number: int = 0, *, on_loop: bool = False, **changes: Any
) -> None:
    """Open, put, settle, deliver, roll, reclaim, mark, close; until an error.

    ``on_loop``: small groups are committed on the loop.
    """
    bench = None
    try:
        options = small_options(
            salt=salts(50 + run_number),
            segment_bytes=2 * SMALL,
            first_bytes=SMALL,
            spares=0 if run_number % 2 else 2,
            **changes,
        )
        bench = Bench(
            files,
            options,
            snapshot=lambda: [Delivered(1, [1], [1])],
            carry=lambda first_id: [Remembered(1, ["seen"], [first_id - 1])],
            on_loop=on_loop,
        )
        ledger.epochs.append(bench.log.epoch)
        # Ids that a failed run used are never used again, as a clock's are not.
        bench.next_id = max(bench.next_id, max(ledger.attempted, default=0) + 1)
        await _work(bench, ledger, run_number % 2 == 1)
        await bench.journal.close()
    except PosthouseError as error:
        ledger.errors.append(error)
    finally:
        if bench is not None:
            bench.crash()


async def _work(bench: Bench, ledger: Ledger, hoard: bool) -> None:
    journal = bench.journal
    journal.append(declared(), declared(2, "mail"), Bound("news", 2, "#", True))
    left = sorted(live_messages(bench.records))
    for turn in range(12):
        first = bench.next_id
        ledger.attempted.update(range(first, first + 12))
        ids: list[int] = []
        for _ in range(3):
            # Small enough for a commit on the loop.
            ids += await bench.put_many(4, b"x" * 3300)
            if bench.on_loop:
                await journal.flush()
        await journal.flush()
        ledger.acknowledged.update(ids)
        for start in range(0, 24, 2):
            # More than the ring's bank holds, in single messages.
            journal.delivered(1, [ids[start % 12]], 1)
        ledger.settling.update(ids[:10])
        journal.settle_many(1, ids[:10])
        old, left = left[:-2], [*left[-2:], ids[11], *([ids[10]] if turn % 3 != 1 else [])]
        if hoard and turn < 7:
            # And several at once: more than are kept to be used again.
            old, left = [], old + left
        if old:
            # So the oldest segments are not needed any more.
            ledger.settling.update(old)
            journal.settle_many(1, old)
        if turn % 3 == 0:
            await journal.flush()
            ledger.settled.update(ids[:10])
        if turn % 3 == 1:
            left += await _transaction(bench, ledger, ids[10])
        if turn == 4:
            bench.timers.fire()
            bench.timers.fire()
        await bench.turn(3)


async def _transaction(bench: Bench, ledger: Ledger, settled: int) -> list[int]:
    """Two messages, the second a copy of the first, and a settlement, together."""
    first = bench.next_id
    bench.next_id += 2
    ledger.attempted.update((first, first + 1))
    ledger.settling.add(settled)
    ledger.pairs.append((first, first + 1))
    bench.journal.append(
        Put(1, 9, first, entries(first, 1)),
        Settled(1, [settled]),
        Copied(2, 9, first + 1, entry(first + 1), first),
    )
    await bench.journal.flush()
    ledger.acknowledged.update((first, first + 1))
    ledger.settled.add(settled)
    return [first, first + 1]
