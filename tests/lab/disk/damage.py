"""Damage that no crash explains: flipped bits, sectors of zeros or garbage.

Of a damaged log there are three right answers: refuse to open, naming the file; or open with
everything there; or, where only the last group is hurt (which nothing vouches for yet), leave it
out and report that. Anything else would be silently wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from posthouse.journal.format import FRAME_HEADER_BYTES, FRAME_MAGIC, SEGMENT_HEADER_BYTES
from posthouse.journal.log import LogOptions
from posthouse.testing.clock import START_NS
from posthouse.testing.simdisk import Image, SimDisk
from tests.lab.disk.facts import NEVER, Facts, Reader
from tests.lab.disk.judge import (
    DIRECTORY,
    Expected,
    Opening,
    compare,
    open_disk,
    salts,
)
from tests.lab.disk.lives import Base, Life
from tests.lab.disk.look import contents
from tests.lab.disk.queues import Names
from tests.lab.disk.timeline import Timeline

SECTOR = 512
LOCK = f"{DIRECTORY}/LOCK"


@dataclass
class Subject:
    """A log to be damaged.

    Attributes:
        image: its files.
        timeline: what it says, group by group.
        last: the sequence of its last group.
        facts: what the program did.
        used: path -> bytes of it that mean something.
    """

    image: Image
    options: LogOptions
    timeline: Timeline
    last: int
    now_ns: int
    facts: Facts
    used: dict[str, int] = field(default_factory=dict)


def subject(seed: int, *, closed: bool, least_bytes: int) -> Subject:
    """A log of some size, closed cleanly or left by a crash."""
    for attempt in range(1000):
        rng = Random(f"damage {seed} {attempt}")
        options = LogOptions(
            segment_bytes=64 * 1024, ring_slots=16, salt=salts(rng.getrandbits(32))
        )
        disk, timeline = SimDisk(record=True), Timeline()
        life = Life(disk, options, timeline, Base(), START_NS)
        life.live(rng, Names(), 40)
        if life.closed is not closed:
            continue
        image = disk.image()
        facts = Reader(life.history, Base().facts()).advance(NEVER)
        found = _open(image, options, life.ended_ns)
        made = Subject(image, options, timeline, found.sequence, life.ended_ns, facts)
        for path, data in image.items():
            made.used[path] = len(data.rstrip(b"\0"))
        size = sum(size for path, size in made.used.items() if path.endswith(".seg"))
        if least_bytes <= size < 6 * least_bytes:
            return made
    raise AssertionError("no program leaves a log of that size")


def _open(image: Image, options: LogOptions, now_ns: int) -> Opening:
    opening, _, log = open_disk(SimDisk(image), options, now_ns)
    if log is not None:
        log.abandon()
    return opening


def judge_damage(subject: Subject, image: Image, least: int, *, noticed: bool = False) -> list[str]:
    """What is wrong with how the damaged log opens.

    ``least``: groups that must be there. ``noticed``: nothing means that nobody looked.
    """
    options = LogOptions(segment_bytes=64 * 1024, ring_slots=16, salt=salts(7))
    opening, state, log = open_disk(SimDisk(image), options, subject.now_ns)
    if state is None or log is None:
        text = opening.problems[0]
        refused = text.startswith(("refused: LogDamaged", "refused: LogUnreadable"))
        return [] if refused and "data/" in text else opening.problems
    log.abandon()
    problems: list[str] = []
    found = contents(state, problems)
    said = subject.timeline.states.get(opening.sequence)
    if said is None:
        return [f"opened up to group {opening.sequence}, which was never written"]
    if opening.sequence < least:
        problems.append(f"groups after {opening.sequence} were left out; {subject.last} is last")
    if noticed and opening.sequence == subject.last:
        problems.append("the damage went unnoticed")
    if log.report.clean and opening.sequence < subject.last:
        problems.append("a group was left out, and the report says that all is well")
    expected = Expected(subject.facts, subject.facts, subject.timeline, 0)
    return problems + compare(found, said, expected, subject.now_ns)


def flipped(image: Image, path: str, bit: int) -> Image:
    """The image with one bit turned over."""
    data = bytearray(image[path])
    data[bit // 8] ^= 1 << bit % 8
    return {**image, path: bytes(data)}


def overwritten(image: Image, path: str, offset: int, filler: bytes) -> Image:
    """The image with a part written over."""
    data = bytearray(image[path])
    data[offset : offset + len(filler)] = filler
    return {**image, path: bytes(data[: len(image[path])])}


def bit_flips(
    subject: Subject, spent: Callable[[], bool], rng: Random | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Judge each bit of all segments and FORMAT (or, with ``rng``, bits at random)."""
    paths = [path for path in subject.image if path.endswith((".seg", "FORMAT"))]
    places = [(path, bit) for path in sorted(paths) for bit in range(8 * subject.used[path])]
    if rng is not None:
        rng.shuffle(places)
    for path, bit in places:
        image = flipped(subject.image, path, bit)
        problems = judge_damage(subject, image, subject.last - 1, noticed=True)
        yield f"bit {bit} of {path}", problems
        if spent():
            return


def bad_sectors(subject: Subject, rng: Random) -> Iterator[tuple[str, list[str]]]:
    """Judge sectors of zeros and of garbage, everywhere."""
    for path in sorted(subject.image):
        if path == LOCK:
            continue
        for offset in range(0, subject.used[path], SECTOR):
            for what, filler in (("zeros", bytes(SECTOR)), ("garbage", rng.randbytes(SECTOR))):
                image = overwritten(subject.image, path, offset, filler)
                least = least_group(subject, path, offset)
                yield f"{what} at {offset} of {path}", judge_damage(subject, image, least)


def least_group(subject: Subject, path: str, offset: int) -> int:
    """Which group must be there when this sector is gone: all, unless it has the last one too."""
    frames = frames_of(subject.image[path]) if path.endswith(".seg") else []
    hit = [sequence for sequence, end in frames if end > offset]
    last_start = frames[-2][1] if len(frames) > 1 else 0
    if not hit or frames[-1][0] != subject.last or offset + SECTOR <= last_start:
        return subject.last
    return hit[0] - 1


def frames_of(data: bytes) -> list[tuple[int, int]]:
    """(sequence, end) of a segment's frames."""
    frames: list[tuple[int, int]] = []
    at = SEGMENT_HEADER_BYTES
    while data[at : at + 4] == FRAME_MAGIC:
        sequence = int.from_bytes(data[at + 32 : at + 40], "little")
        at += FRAME_HEADER_BYTES + int.from_bytes(data[at + 12 : at + 16], "little")
        frames.append((sequence, at))
    return frames


__all__ = ["bad_sectors", "bit_flips", "subject"]
