"""What a power cut may leave: the crash states of a `posthouse.testing.simdisk.Cut`.

Each state keeps all that was synced, and of the rest a choice: none, all, each prefix, all but
one, one alone, random subsets; and the last write torn at a byte, at sectors of 512 and 4,096
bytes, or with its size only, or without the size it gave the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from posthouse.testing.simdisk import Change, Cut, Frozen, Image, apply_move, put_change

RECENT: Final = 6
"""So many of the newest changes are chosen one by one; the older ones together."""

Tear = Callable[[bytearray, Change], None]


@dataclass(frozen=True, slots=True)
class CrashState:
    """One disk that a crash may leave: how it came to be, in words, and its files."""

    label: str
    image: Image


def crash_states(
    cut: Cut, rng: Random, *, tears: int = 6, subsets: int = 3
) -> Iterator[CrashState]:
    """Disks that a crash at ``cut`` may leave; ``tears`` bytes at most at which a write is torn."""
    items = pending_of(cut)
    seen: set[frozenset[int]] = set()
    for label, kept in _choices(items, rng, subsets):
        if kept not in seen:
            seen.add(kept)
            yield CrashState(label, build(cut, kept))
    last = _last_write(cut)
    if last is not None:
        others = frozenset(items) - {last[0].index}
        yield from _torn(cut, last[0], last[1], others, rng, tears)


def pending_of(cut: Cut) -> list[int]:
    """The operations that are not durable, oldest first."""
    found = [move.index for move in cut.moves]
    for frozen in cut.files.values():
        found += [change.index for change in frozen.pending if not change.forced]
    return sorted(found)


def _choices(items: list[int], rng: Random, subsets: int) -> Iterator[tuple[str, frozenset[int]]]:
    everything = frozenset(items)
    yield "nothing unsynced is kept", frozenset()
    yield "everything is kept", everything
    old, recent = items[:-RECENT], items[-RECENT:]
    for index, item in enumerate(recent):
        yield f"kept up to operation {item}", frozenset(old + recent[: index + 1])
        yield f"operation {item} is lost", everything - {item}
        yield f"only operation {item} is kept", frozenset({item})
    if len(items) > 2:
        for _ in range(subsets):
            kept = frozenset(item for item in items if rng.random() < 0.5)
            yield f"kept are {sorted(kept)}", kept


def build(cut: Cut, kept: frozenset[int], torn: int = -1, tear: Tear | None = None) -> Image:
    """The disk with the unsynced operations ``kept``; operation ``torn`` is done by ``tear``."""
    names = dict(cut.names)
    for move in cut.moves:
        if move.index in kept:
            apply_move(names, move)
    made: dict[int, bytes] = {}
    image: Image = {}
    for path, number in names.items():
        if number not in made:
            made[number] = _content(cut.files[number], kept, torn, tear)
        image[path] = made[number]
    return image


def _content(frozen: Frozen, kept: frozenset[int], torn: int, tear: Tear | None) -> bytes:
    data: bytearray | None = None
    for change in frozen.pending:
        if not change.forced and change.index not in kept and change.index != torn:
            continue
        if data is None:
            data = bytearray(frozen.durable)
        if change.index == torn and tear is not None:
            tear(data, change)
        else:
            put_change(data, change.offset, change.data)
    return frozen.durable if data is None else bytes(data)


def _last_write(cut: Cut) -> tuple[Change, Frozen] | None:
    for frozen in cut.files.values():
        if frozen.pending and frozen.pending[-1].index == cut.index:
            change = frozen.pending[-1]
            if change.data:
                return change, frozen
    return None


def _torn(
    cut: Cut, change: Change, frozen: Frozen, others: frozenset[int], rng: Random, tears: int
) -> Iterator[CrashState]:
    """The last write in part, the other unsynced operations all or none of them."""
    assert change.data is not None
    size = len(change.data)
    points = {1, size // 2, size - 1} & set(range(1, size))
    if size > 16:
        points = {rng.randrange(1, size) for _ in range(tears)} | {8, 16, 48} & set(range(1, size))

    def state(what: str, tear: Tear) -> CrashState:
        kept = others if rng.random() < 0.7 else frozenset[int]()
        return CrashState(f"the last write {what}", build(cut, kept, change.index, tear))

    for point in sorted(points):
        yield state(f"torn at byte {point} of {size}", first_bytes(point))
    for sector in (512, 4096):
        if size > sector:
            yield state(f"in some sectors of {sector}", some_sectors(sector, Random(rng.random())))
            yield state(f"without its first {sector} bytes", without_first(sector))
    if change.offset + size > len(frozen.durable):
        yield state("with its size only", size_only(b"\0"))
        yield state("with its size and stale bytes", size_only(b"\xa5stale"))
        yield state("without the size it gave the file", without_size(len(frozen.durable)))


def first_bytes(count: int) -> Tear:
    """Only the first bytes of the write are there."""

    def tear(data: bytearray, change: Change) -> None:
        assert change.data is not None
        put_change(data, change.offset, change.data[:count])

    return tear


def without_first(count: int) -> Tear:
    """All of the write is there but its first bytes."""

    def tear(data: bytearray, change: Change) -> None:
        assert change.data is not None
        put_change(data, change.offset + count, change.data[count:])

    return tear


def some_sectors(sector: int, rng: Random) -> Tear:
    """Of the write some sectors are there, aligned in the file."""

    def tear(data: bytearray, change: Change) -> None:
        assert change.data is not None
        offset, end = change.offset, change.offset + len(change.data)
        at = offset
        while at < end:
            stop = min(at - at % sector + sector, end)
            if rng.random() < 0.5:
                put_change(data, at, change.data[at - offset : stop - offset])
            at = stop

    return tear


def size_only(filler: bytes) -> Tear:
    """The file is as long as the write made it, but what was added is something else."""

    def tear(data: bytearray, change: Change) -> None:
        assert change.data is not None
        missing = change.offset + len(change.data) - len(data)
        if missing > 0:
            data.extend((filler * (missing // len(filler) + 1))[:missing])

    return tear


def without_size(size: int) -> Tear:
    """Of the write only what lies within the file's old length."""

    def tear(data: bytearray, change: Change) -> None:
        assert change.data is not None
        put_change(data, change.offset, change.data[: max(0, size - change.offset)])

    return tear
