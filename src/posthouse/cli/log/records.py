"""What ``posthouse log dump`` prints: a line for each segment, group, record and message."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from posthouse.cli import output
from posthouse.cli.log.contents import message_line, message_record, traits_record
from posthouse.journal.format import FLAG_CATALOG, FLAG_CLOSED, FLAG_MARKER
from posthouse.journal.tools.dump import Dumped, DumpedFrame, DumpedSegment
from posthouse.journal.tools.faults import Fault
from posthouse.journal.tools.queues import queues_of
from posthouse.journal.tools.texts import counted, id_text, ids_text, time_text
from posthouse.model import QueuePolicy
from posthouse.records import (
    LOG_RECORDS,
    Accepted,
    Bound,
    Closed,
    Copied,
    Declared,
    Delivered,
    Entry,
    Moved,
    Opened,
    Put,
    Record,
    Remembered,
    Returned,
    Settled,
)

_DEEP: Final = "      "


class Printer:
    """Prints what a dump finds, as it is found.

    ``names``: of the queues by number, growing meanwhile; ``queue``: only records of this one;
    ``whole``: bodies whole.
    """

    def __init__(
        self, names: Mapping[int, str], *, queue: str | None, whole: bool, as_json: bool
    ) -> None:
        self._names = names
        self._queue = queue
        self._whole = whole
        self._as_json = as_json

    def show(self, item: Dumped) -> None:
        """Print one item."""
        match item:
            case DumpedFrame():
                self._frame(item)
            case DumpedSegment() if self._queue is None and not self._as_json:
                output.write_line(segment_line(item))
            case Fault() if self._as_json:
                output.write_json(
                    {
                        "segment": item.file,
                        "offset": item.offset,
                        "end": item.end,
                        "damage": item.what,
                        "groups": item.groups or None,
                    }
                )
            case Fault():
                output.write_line(f"  damage: {item}")
            case _:
                pass

    def _frame(self, item: DumpedFrame) -> None:
        records = [record for record in item.records if self._wanted(record)]
        if self._as_json:
            header = item.frame.header
            place = {
                "segment": item.name,
                "offset": item.frame.offset,
                "group": header.sequence,
                "catalog": bool(header.flags & FLAG_CATALOG),
            }
            for record in records:
                output.write_json(place | self._values(record))
            return
        if records or self._queue is None:
            output.write_line(frame_line(item))
        for record in records:
            for line in self._lines(record):
                output.write_line(line)

    def _wanted(self, record: Record) -> bool:
        if self._queue is None:
            return True
        queues = (record.queue,) if isinstance(record, Delivered) else queues_of(record)
        return any(self._name(queue) == self._queue for queue in queues)

    def _name(self, queue: int) -> str:
        return self._names.get(queue, f"queue number {queue}")

    def _values(self, record: Record) -> dict[str, Any]:
        values: dict[str, Any] = {"record": type(record).__name__.lower()}
        if not isinstance(record, LOG_RECORDS):
            values["queue"] = self._name(record.queue)
        return values | self._more(record)

    def _more(self, record: Record) -> dict[str, Any]:
        match record:
            case Opened():
                return {"epoch": record.epoch, "at": time_text(record.at_ns)}
            case Closed():
                return {"at": time_text(record.at_ns)}
            case Declared():
                return {"number": record.queue, "policy": record.policy}
            case Put():
                messages = [message_record(entry, self._whole) for entry in record.entries]
                carried = {"carried": True} if record.carried else {}
                return {**_sent(record), **carried, "messages": messages}
            case Copied():
                message = message_record(record.entry, self._whole)
                return {**_sent(record), "messages": [message], "of": id_text(record.of)}
            case Settled():
                return {"ids": [id_text(number) for number in record.ids]}
            case Returned():
                rows = zip(record.ids, record.attempts, record.due_ns, strict=True)
                return {
                    "messages": [
                        {"id": id_text(number), "attempts": attempts, "due": _time(due_ns)}
                        for number, attempts, due_ns in rows
                    ]
                }
            case Moved():
                target = self._name(record.target)
                return {"id": id_text(record.id), "to": target, **traits_record(record.traits)}
            case Delivered():
                pairs = zip(record.ids, record.attempts, strict=True)
                return {"messages": [{"id": id_text(a), "attempts": b} for a, b in pairs]}
            case Bound():
                return {"topic": record.topic, "pattern": record.pattern, "bound": record.bound}
            case Remembered():
                named = zip(record.ids, record.dedups, strict=True)
                return {"messages": [{"id": id_text(a), "dedup": b} for a, b in named]}
            case Accepted():
                rows = zip(record.ids, record.counts, record.sequences, strict=True)
                puts = [{"id": id_text(a), "count": b, "sequence": c} for a, b, c in rows]
                return {"producer": record.producer, "puts": puts}

    def _lines(self, record: Record) -> Iterator[str]:
        what = f"    {type(record).__name__.lower()}"
        if not isinstance(record, LOG_RECORDS):
            what += f" {self._name(record.queue)}"
        match record:
            case Opened():
                yield f"{what} epoch {record.epoch}, at {time_text(record.at_ns)}"
            case Closed():
                yield f"{what} at {time_text(record.at_ns)}"
            case Declared():
                policy = msgspec.json.encode(_changed(record.policy)).decode()
                yield f"{what} is queue number {record.queue}, policy {policy}"
            case Put():
                how = ", carried on" if record.carried else ""
                yield f"{what} {counted(len(record.entries), 'message')}{how}"
                yield from self._messages(record.entries)
            case Copied():
                yield f"{what} of {id_text(record.of)}"
                yield from self._messages([record.entry])
            case Settled():
                yield f"{what} {counted(len(record.ids), 'message')}: {ids_text(record.ids)}"
            case Bound():
                how = "to" if record.bound else "no more to"
                yield f"{what} {how} topic {record.topic}, pattern {record.pattern}"
            case Moved():
                yield f"{what} {id_text(record.id)} to {self._name(record.target)}"
            case Returned() | Delivered() | Remembered():
                yield f"{what} {counted(len(record.ids), 'message')}"
                for row in self._more(record)["messages"]:
                    yield _DEEP + ", ".join(f"{key} {value}" for key, value in row.items() if value)
            case Accepted():
                yield f"{what} {counted(sum(record.counts), 'put')} of producer {record.producer}"
                for row in self._more(record)["puts"]:
                    yield _DEEP + ", ".join(f"{key} {value}" for key, value in row.items())

    def _messages(self, entries: list[Entry]) -> Iterator[str]:
        for entry in entries:
            yield _DEEP + message_line(entry, self._whole)


def segment_line(item: DumpedSegment) -> str:
    """A segment's header in words."""
    header = item.header
    if header is None:
        return f"{item.name}: its header cannot be read"
    return f"{item.name}: groups from {header.first_sequence}, salt {header.salt:016x}"


def frame_line(item: DumpedFrame) -> str:
    """A frame's header in words."""
    header = item.frame.header
    what = f"group {header.sequence}"
    if header.flags & FLAG_CATALOG:
        what = "catalog"
    elif header.flags & FLAG_MARKER:
        what = f"marker, group {header.sequence}"
    elif header.flags & FLAG_CLOSED:
        what += ", closed cleanly"
    return f"  at {item.frame.offset}: {what}, {counted(header.count, 'record')}"


def _sent(record: Put | Copied) -> dict[str, Any]:
    return {"producer": record.producer, "sequence": record.sequence}


def _changed(policy: QueuePolicy) -> dict[str, Any]:
    """What of a policy is not the default."""
    default = msgspec.to_builtins(QueuePolicy())
    found = msgspec.to_builtins(policy)
    return {name: value for name, value in found.items() if value != default[name]}


def _time(at_ns: int) -> str | None:
    return time_text(at_ns) if at_ns else None
