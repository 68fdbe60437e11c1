"""Torn tails, exhaustively: the last group cut at every byte, with three things behind the cut."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from posthouse.journal.log import LogOptions
from posthouse.testing.clock import START_NS
from posthouse.testing.simdisk import Image, SimDisk
from posthouse.testing.simloop import SimLoop
from tests.lab.disk.bodies import make_body
from tests.lab.disk.damage import Subject, frames_of, judge_damage
from tests.lab.disk.judge import DIRECTORY, salts
from tests.lab.disk.lives import Base, open_broker
from tests.lab.disk.timeline import Timeline

SEGMENT = f"{DIRECTORY}/00000001.seg"


def tail_subject(last_bytes: int) -> tuple[Subject, int, int]:
    """A log whose last group has so many bytes: (it, where that group begins, where it ends)."""
    disk, timeline, loop = SimDisk(record=True), Timeline(), SimLoop(1)
    options = LogOptions(segment_bytes=1 << 18, ring_slots=16, salt=salts(1))
    disk.on_write = timeline.on_write

    async def main() -> None:
        broker = await open_broker(disk, options, loop, Random(1))
        queue = broker.queue("orders")
        for number in range(3):
            await queue.put(make_body(f"m{number:07d}", 200))
        for message in await queue.get_many(2):
            await message.ack(durable=True)
        await queue.put(make_body("mlast000", last_bytes))

    try:
        loop.run(main())
    finally:
        loop.close()
    image = disk.image()
    frames = frames_of(image[SEGMENT])
    made = Subject(image, options, timeline, frames[-1][0], START_NS, Base().facts())
    return made, frames[-2][1], frames[-1][1]


def torn_tails(last_bytes: int) -> Iterator[tuple[str, list[str]]]:
    """Judge the tail torn at every byte; what was synced before must be there."""
    subject, start, end = tail_subject(last_bytes)
    whole = subject.image[SEGMENT]
    stale = (whole[72:start] * (end // start + 2))[: end - start]
    for at in range(start, end + 1):
        rest = len(whole) - at
        for what, tail in (
            ("the file ends there", b""),
            ("zeros follow", bytes(rest)),
            ("stale bytes follow", stale[: end - at] + whole[end:]),
        ):
            image: Image = {**subject.image, SEGMENT: whole[:at] + tail}
            yield (
                f"torn at byte {at - start}, {what}",
                judge_damage(subject, image, subject.last - 1),
            )
