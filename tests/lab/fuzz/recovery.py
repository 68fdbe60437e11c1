"""A whole log that was closed cleanly, with a file of it damaged, is opened.

It is refused, and nothing touched; or all that it held is there. (The spare files and the lock
hold nothing, the attempts ring only counts, and the last frame only says that the log was closed.)
One kind of damage cannot be told from a crash, and is reported as one: that of the last group and
of the frame behind it that says so, both at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Final

import posthouse
from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.format import SEGMENT_HEADER_BYTES, SegmentHeader, seed_of
from posthouse.journal.frames import scan_frames
from posthouse.journal.log import open_log
from posthouse.journal.options import LogOptions
from posthouse.records import Put, Record, Settled
from posthouse.testing.simdisk import Image, SimDisk
from tests.lab.fuzz.mutate import mutate
from tests.lab.process.child import log_options
from tests.lab.process.faults import InlineWriter
from tests.lab.process.life import Life

DIRECTORY: Final = "log"
LOCK: Final = f"{DIRECTORY}/LOCK"
PER_LOG: Final = 300
MOST_HOLE_BYTES: Final = 96
OPTIONS: Final = LogOptions(segment_bytes=64 * 1024, first_bytes=64 * 1024, ring_slots=16)


def say_nothing(word: str, *fields: object) -> None:
    """Nobody wants to know what this life does."""


def draw_log(random: Random) -> Image:
    """What a life and a clean close leave."""
    disk = SimDisk()

    async def main() -> None:
        options = log_options(random) | {"segment_bytes": 64 * 1024, "first_bytes": 64 * 1024}
        async with posthouse.open(
            DIRECTORY, files=disk, make_writer=InlineWriter, **options
        ) as broker:
            await Life(broker, say_nothing, random, "0").run(random.choice([9, 60, 150]))

    asyncio.run(main())
    return disk.image()


def live_messages(disk: SimDisk) -> dict[int, bytes]:
    """Open the log and list its messages. Raises what opening raises."""
    found: dict[int, bytes] = {}

    def apply(record: Record) -> None:
        match record:
            case Put():
                found.update((entry[0], entry[2]) for entry in record.entries)
            case Settled():
                for message_id in record.ids:
                    found.pop(message_id, None)
            case _:
                pass

    open_log(DIRECTORY, disk, OPTIONS, apply, 1).abandon()
    return found


def last_frame(image: Image) -> tuple[str, int]:
    """Path and offset of the frame that says that the log was closed."""
    name = max(name for name in image if name.endswith(".seg"))
    data = image[name]
    header = SegmentHeader.unpack(data)
    assert header is not None
    start, seed = SEGMENT_HEADER_BYTES, seed_of(header.salt)
    scan = scan_frames(data, start, len(data), seed, header.first_sequence, reused=header.reused)
    assert scan.closed
    return name, scan.frames[-1].offset


def recovery(random: Random) -> Iterator[None]:
    """See the module. A target, as in `targets`."""
    while True:
        image = draw_log(random)
        held = live_messages(SimDisk(image))
        names = sorted(image)
        closing, offset = last_frame(image)
        for _ in range(PER_LOG):
            name = names[random.randrange(len(names))]
            changed, first, last = damaged(image[name], random)
            both = name == closing and first < offset <= last
            check_recovery({**image, name: changed}, held, both=both)
            yield


def damaged(data: bytes, random: Random) -> tuple[bytes, int, int]:
    """A few bytes changed, somewhere: the file then, the first and the last that may differ."""
    used = min(len(data.rstrip(b"\0")) + 64, len(data))
    at = random.randrange(used)
    hole = data[at : at + MOST_HOLE_BYTES]
    # Of the same length: bytes moved or lost at a file's end look like a crash (see the docs).
    changed = mutate(hole, random)[: len(hole)].ljust(len(hole), b"\0")
    return data[:at] + changed + data[at + len(hole) :], at, at + len(hole) - 1


def check_recovery(image: Image, held: dict[int, bytes], *, both: bool) -> None:
    """One input of `recovery`; ``both``: the last group and the last frame may be damaged."""
    disk = SimDisk(image)
    try:
        found = live_messages(disk)
    except (LogDamaged, LogUnreadable):
        after = disk.image()
        assert after.keys() == image.keys()
        assert all(after[name] == image[name] for name in image if name != LOCK)
    else:
        assert found == held or both
