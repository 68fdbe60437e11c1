"""Logs on disk for the tools' tests, and an oracle that knows what each of their frames did."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import posthouse
from posthouse.journal.format import FLAG_CATALOG
from posthouse.journal.tools.dump import Dump, DumpedFrame
from posthouse.journal.tools.files import ReadingFiles
from posthouse.records import Copied, Put, Settled
from tests.journal.logs import SMALL

READING = ReadingFiles()
OPTIONS: dict[str, Any] = {"segment_bytes": SMALL, "marker_idle_s": 3600.0}


@dataclass(frozen=True)
class Group:
    """What one frame of a sound log holds, and where it is."""

    segment: str
    start: int
    end: int
    catalog: bool
    sequence: int
    put: frozenset[str]
    settled: frozenset[str]


async def make_log(directory: Path, *, puts: int = 120, acked: int = 200) -> list[str]:
    """A log of several segments, closed cleanly; what it put and still lives, in order."""
    async with posthouse.open(str(directory), **OPTIONS) as broker:
        orders = broker.queue("orders")
        ids: list[str] = []
        for number in range(puts):
            ids += await orders.put_many([{"n": number, "pad": "x" * 90} for _ in range(10)])
            if number % 4 == 3 and acked:
                taken = await orders.get_many(min(acked, 7))
                await orders.ack_many(taken, durable=True)
                acked -= len(taken)
                gone = {message.id for message in taken}
                ids = [each for each in ids if each not in gone]
    return ids


async def make_checkpointed_log(directory: Path) -> None:
    """A log of everything, closed cleanly, with a checkpoint for each of its full segments."""
    async with posthouse.open(str(directory), **OPTIONS, compact_bytes_s=0) as broker:
        plain, keyed = broker.queue("plain"), broker.queue("keyed")
        for number in range(50):
            await plain.put_many([f"{number}-{each}" + "x" * 100 for each in range(40)])
            await keyed.put("k" * 300, key=f"k{number % 3}", dedup=f"d{number}", ttl=3600)
            await plain.put("later" + "z" * 500, delay=3600)
            taken = await plain.get_many(20)
            await plain.ack_many(taken[:15], durable=True)
            await taken[15].nack(delay=3600)
            await taken[16].reject("no good")
            await taken[17].give_back()
        async with asyncio.timeout(20):
            while not _has_checkpoints(directory):
                await asyncio.sleep(0)


def _has_checkpoints(directory: Path) -> bool:
    sealed = sorted(directory.glob("*.seg"))[:-1]
    return len(sealed) > 2 and all(path.with_suffix(".ckp").exists() for path in sealed)


async def living(directory: Path | str, queue: str = "orders") -> list[str]:
    """Open a log as a program does: the ids of what it holds, in order of delivery."""
    async with posthouse.open(str(directory), **OPTIONS) as broker:
        found: list[str] = []
        handle = broker.queue(queue)
        while handle.qsize():
            found += [message.id for message in await handle.get_many(1000, timeout=10)]
        return found


def groups_of(directory: Path) -> list[Group]:
    """Every frame of a sound log."""
    found: list[Group] = []
    for item in Dump(READING, str(directory)):
        if not isinstance(item, DumpedFrame):
            continue
        put: set[int] = set()
        settled: set[int] = set()
        for record in item.records:
            match record:
                case Put():
                    put |= {entry[0] for entry in record.entries}
                case Copied():
                    put.add(record.entry[0])
                case Settled():
                    settled |= set(record.ids)
                case _:
                    pass
        frame = item.frame
        catalog = bool(frame.header.flags & FLAG_CATALOG)
        found.append(
            Group(
                item.name,
                frame.offset,
                frame.end,
                catalog,
                frame.header.sequence,
                frozenset(f"{number:016x}" for number in put),
                frozenset(f"{number:016x}" for number in settled),
            )
        )
    return found


@dataclass
class Harm:
    """Damage done to a log: which bytes of which segments are not what they were."""

    directory: Path
    lost: list[tuple[str, int, int]] = field(default_factory=list)

    def flip(self, name: str, offset: int, bit: int = 0) -> None:
        """One bit."""
        path = self.directory / name
        data = bytearray(path.read_bytes())
        data[offset] ^= 1 << bit
        path.write_bytes(data)
        self.lost.append((name, offset, offset + 1))

    def blank(self, name: str, start: int, end: int, byte: int = 0) -> None:
        """A stretch of bytes."""
        path = self.directory / name
        data = bytearray(path.read_bytes())
        data[start:end] = bytes([byte]) * (end - start)
        path.write_bytes(data)
        self.lost.append((name, start, end))

    def cut(self, name: str, size: int) -> None:
        """The end of a file."""
        with (self.directory / name).open("r+b") as file:
            file.truncate(size)
        self.lost.append((name, size, 1 << 62))

    def remove(self, name: str) -> None:
        """A whole segment."""
        (self.directory / name).unlink()
        self.lost.append((name, 0, 1 << 62))

    def hits(self, group: Group) -> bool:
        """Whether some of the group's bytes are among them."""
        return any(
            name == group.segment and start < group.end and group.start < end
            for name, start, end in self.lost
        )

    def split(self, groups: list[Group]) -> tuple[list[Group], list[Group]]:
        """The groups that are whole, and those that are not."""
        kept = [group for group in groups if not self.hits(group)]
        return kept, [group for group in groups if self.hits(group)]


def readable(kept: list[Group]) -> set[str]:
    """The messages that live by these groups alone."""
    put = set[str]().union(*(group.put for group in kept))
    return put - set[str]().union(*(group.settled for group in kept))


def content(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def segments(directory: Path) -> list[str]:
    """The names of the segments, oldest first."""
    return sorted(path.name for path in directory.glob("*.seg"))
