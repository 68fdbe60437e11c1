"""A log opened both ways: every record replayed, and rebuilt from what its segments come to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthouse.core import selecting
from posthouse.core.orders import rank_of
from posthouse.core.pages import Page
from posthouse.core.rebuild import Rebuild
from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState
from posthouse.journal.log import Log, LogOptions, open_log
from posthouse.records import Entry
from posthouse.testing.simdisk import SimDisk

DIRECTORY = "data"
_ALL = 1 << 64
Image = dict[str, bytes]


@dataclass
class Opened:
    """What an opening came to: the state in plain values, and the log (let go of)."""

    state: Any
    log: Log
    read: int


def image_of(directory: Path) -> Image:
    """A real directory as the image of a simulated disk."""
    return {
        f"{DIRECTORY}/{path.name}": path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.is_file()
    }


def replayed(image: Image, options: LogOptions, now_ns: int) -> Opened:
    """Open a copy of the disk by every record."""
    state = BrokerState()
    replay = Replay(state)
    log = open_log(DIRECTORY, SimDisk(image), options, replay.apply, now_ns)
    replay.finish(now_ns)
    log.abandon()
    return Opened(plain(state), log, len(log.unchecked))


def rebuilt(image: Image, options: LogOptions, now_ns: int) -> Opened:
    """Open a copy of the disk by checkpoints, where they are, and by segments."""
    state = BrokerState()
    rebuild = Rebuild(state)
    log = open_log(DIRECTORY, SimDisk(image), options, rebuild.apply, now_ns, sink=rebuild)

    def read(number: int, page: Page) -> list[Entry]:
        return log.reader.read(number, page.segment, page.runs())

    rebuild.materialise(read, now_ns)
    rebuild.finish(now_ns)
    found = plain(state)
    log.abandon()
    return Opened(found, log, len(log.unchecked))


def plain(state: BrokerState) -> Any:
    """A state as values that can be compared; what is on disk only is read."""
    queues = {}
    for number, queue in state.queues.items():
        entries = list(queue.entries())
        if queue.pages is not None:
            for page in queue.pages:
                found = queue.pages.read(page)
                assert len(found) == page.count
                assert sum(len(entry[2]) + len(entry[3]) for entry in found) == page.size_bytes
                entries += found
        delayed = list(queue.delayed)
        if queue.cold is not None:
            rows = [row for part in queue.cold.parts() for row in part]
            read = {rank_of(entry): entry for entry in queue.cold.read(rows)}
            assert len(rows) == len(read) == queue.cold.count + queue.cold.stubs.count
            for row in rows:
                entry = read[row.rank]
                assert (row.id, row.size_bytes) == (entry[0], len(entry[2]) + len(entry[3]))
                if row.key == row.rank:
                    entries.append(entry)
                else:
                    delayed.append((row.key, row.rank, entry))
            late = {rank for _, rank, _ in delayed}
            entries = [entry for entry in entries if rank_of(entry) not in late]
            delayed = [(due_ns, rank, read.get(rank, entry)) for due_ns, rank, entry in delayed]
        entries.sort(key=selecting.order_key(queue))
        queues[number] = (
            queue.name,
            queue.policy,
            queue.live,
            queue.size_bytes,
            entries,
            sorted(delayed, key=lambda row: row[:2]),
            {rank: count for rank, count in queue.attempts.items() if count},
            len(queue.dedup),
        )
    producers = state.producers.carry(_ALL, _ALL, 0)
    return queues, state.numbers.last_id, sorted(state.router.bindings(None)), producers
