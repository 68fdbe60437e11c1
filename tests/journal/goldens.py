"""Logs as a version wrote them, kept for ever: how they are made, and shown as text.

``python -m tests.journal.goldens`` writes those of this version into ``golden/v<version>``, once:
it refuses where there are some. What a released version wrote is never written again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec

from posthouse.journal.format import FORMAT_VERSION, SegmentHeader
from posthouse.journal.log import Log
from posthouse.model import QueuePolicy, Retry
from posthouse.records import (
    Accepted,
    Bound,
    Copied,
    Declared,
    Delivered,
    Entry,
    Moved,
    Put,
    Record,
    Remembered,
    Returned,
    Traits,
)
from tests.journal.logs import (
    DIRECTORY,
    NOW_NS,
    SMALL,
    Bench,
    open_records,
    salts,
    small_options,
)
from tests.journal.memory import Inode, MemoryFiles

GOLDEN = Path(__file__).with_name("golden")
RECORDS = "records.jsonl"
RICH = Traits(
    due_ns=NOW_NS + 5,
    rank=NOW_NS + 6,
    death=b"\x81\xa3why\xa3ttl",
    key="k",
    priority=9,
    expires_ns=NOW_NS + 7,
    dedup="d-1",
)
POLICY = QueuePolicy(
    visibility_timeout_s=5.0,
    retry=Retry(3, (1.0, 2.5)),
    dead_letter=None,
    max_messages=10,
    order="priority",
)


def shown(record: Record) -> dict[str, Any]:
    """A record for people: what it says, but not what has its default."""
    fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
    for name, value in fields.items():
        if isinstance(value, QueuePolicy):
            fields[name] = msgspec.to_builtins(value)
        elif isinstance(value, Traits):
            fields[name] = _traits(value)
        elif name == "entries":
            fields[name] = [_entry(item) for item in value]
        elif name == "entry":
            fields[name] = _entry(value)
    return {"record": type(record).__name__} | fields


def _entry(entry: Entry) -> list[Any]:
    message_id, kind, body, headers, traits = entry
    return [message_id, kind, body.decode("latin-1"), headers.decode("latin-1"), _traits(traits)]


def _traits(traits: Traits | None) -> dict[str, Any] | None:
    if traits is None:
        return None
    default = Traits()
    values = {name: getattr(traits, name) for name in Traits.__struct_fields__}
    return {
        name: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in values.items()
        if value != getattr(default, name)
    }


def covers(found: Any, expected: Any) -> bool:
    """Whether ``found`` says all that ``expected`` does; in a map it may say more."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return all(name in found and covers(found[name], expected[name]) for name in expected)
    if isinstance(expected, list) and isinstance(found, (list, tuple)):
        return len(found) == len(expected) and all(map(covers, found, expected))
    return bool(found == expected)


async def _write(closed: bool) -> dict[str, bytes]:
    """A log that had segments before, with every kind of record; its files."""
    files = MemoryFiles()
    bench = Bench(
        files,
        small_options(salt=salts(1 + closed)),
        snapshot=lambda: [Delivered(1, [bench.next_id - 1], [2])],
        carry=lambda first_id: [
            Remembered(1, ["d-0", "d-\N{POSTBOX}"], [1, 2]),
            Accepted(1 << 41, [5, 9], [3, 1], [1, 4]),
        ],
    )
    journal = bench.journal
    bench.next_id = NOW_NS
    journal.append(Declared(1, "orders", QueuePolicy()), Bound("old", 1, "#", True))
    for _ in range(2):
        ids = await bench.put_many(5, b"gone")
        await journal.flush()
        await _roll(bench)
        journal.settle_many(1, ids)
        await journal.flush()
        await bench.turn(9)
    assert bench.log.live.oldest > 1
    journal.append(
        Declared(2, "mail \N{POSTBOX}", POLICY),
        Bound("news", 2, "tea.*", True),
        Bound("old", 1, "#", False),
    )
    ids = await bench.put_many(6, b"plain")
    await _roll(bench)
    first = bench.next_id
    bench.next_id += 4
    mixed: list[Entry] = [
        (first, 0, b'{"a":1}', b"", None),
        (first + 1, 1, "テキスト".encode(), b"\x81\xa1h\xa1v", RICH),
        (first + 2, 255, b"", b"", Traits(due_ns=NOW_NS + 9)),
    ]
    copy: Entry = (first + 3, 1, mixed[1][2], mixed[1][3], Traits(key="copy"))
    journal.append(Put(1, 7, 100, mixed), Copied(2, 7, 103, copy, first + 1))
    await journal.flush()
    journal.delivered(1, ids[:5], 1)
    await bench.put(b"")
    journal.settle_many(1, [ids[0], ids[2]])
    journal.settle_many(1, ids[3:5])
    journal.append(
        Returned(1, [ids[1]], [1], [NOW_NS + 3]),
        Moved(1, 2, ids[5], Traits(rank=first + 2, death=b"\x80")),
    )
    await journal.flush()
    bench.timers.fire()
    bench.timers.fire()
    await bench.turn(3)
    await bench.put(b"last")
    await journal.flush()
    whole = bench.log.disk.position
    if closed:
        await journal.close()
    else:
        journal.delivered(1, [bench.next_id - 1], 1)
        await bench.put(b"torn" * 9)
        await journal.flush()
    end = bench.log.disk.position
    number = bench.log.disk.number
    bench.crash()
    last = files.names[f"{DIRECTORY}/{number:08d}.seg"]
    del last.data[end if closed else whole + 70 :]
    return _trimmed(files)


async def _roll(bench: Bench) -> None:
    """Ask for more than the segment has room for: the next one begins."""
    await bench.journal.flush()
    number = bench.log.disk.number
    await bench.journal.make_room(bench.journal.room + SMALL)
    await bench.turn(6)
    assert bench.log.disk.number == number + 1


def _trimmed(files: MemoryFiles) -> dict[str, bytes]:
    """The files of the log, without what is prewritten."""
    found = {path.rpartition("/")[2]: bytes(node.data) for path, node in files.names.items()}
    kept = {name: data for name, data in found.items() if name[0] in "0aF"}
    segments = sorted(name for name in kept if name.endswith(".seg"))
    for name, following in itertools.pairwise(segments):
        header = SegmentHeader.unpack(kept[following])
        assert header is not None
        kept[name] = kept[name][: header.previous_end]
    return kept


def files_of(directory: Path) -> MemoryFiles:
    """A copy of a log's files."""
    files = MemoryFiles()
    for path in directory.iterdir():
        files.names[f"{DIRECTORY}/{path.name}"] = Inode(bytearray(path.read_bytes()))
    return files


def read_log(directory: Path) -> tuple[Log, list[Record]]:
    """Open a copy of a log; its records."""
    return open_records(files_of(directory), small_options(salt=salts(99)))


def make(target: Path) -> None:
    """Write the logs of this version.

    Raises:
        FileExistsError: there are some.
    """
    target.mkdir(parents=True)
    for name in ("closed", "crashed"):
        directory = target / name
        directory.mkdir()
        for file, data in asyncio.run(_write(name == "closed")).items():
            (directory / file).write_bytes(data)
        log, records = read_log(directory)
        log.abandon()
        lines = [json.dumps(shown(record), ensure_ascii=False) for record in records]
        (target / f"{name}.{RECORDS}").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    make(GOLDEN / f"v{FORMAT_VERSION}")
