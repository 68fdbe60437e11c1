"""What the log says after each of its groups, read from the bytes as they are written.

A second, plain reading of the records: after a crash the broker must hold exactly what one of
these states says, so that groups (and the transactions in them) are whole and in order.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from posthouse.journal.codec import decode_payload
from posthouse.journal.format import (
    FLAG_CATALOG,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    SEGMENT_MAGIC,
)
from posthouse.model import QueuePolicy
from posthouse.records import (
    Bound,
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
    Traits,
)

_LENGTH = struct.Struct("<III")
_SEQUENCE = struct.Struct("<Q")


class Kept(NamedTuple):
    """A message as the log tells of it."""

    queue: int
    kind: int
    body: bytes
    headers: bytes
    rank: int
    death: bytes
    due_ns: int
    attempts: int
    key: str = ""
    priority: int = 0
    expires_ns: int = 0


Binding: TypeAlias = "tuple[str, int, str]"
"""Topic, queue, pattern."""


class State(NamedTuple):
    """All that a log says.

    Messages by id, queues by number, the last epoch, bindings, and for each (queue, dedup id) the
    message that was put with it last.
    """

    messages: dict[int, Kept]
    queues: dict[int, tuple[str, QueuePolicy]]
    epoch: int
    last_id: int = 0
    bindings: frozenset[Binding] = frozenset()
    dedups: Mapping[tuple[int, str], int] = MappingProxyType({})


class Timeline:
    """The state after each group, by the group's sequence."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {0: State({}, {}, 0)}

    def fork(self, sequence: int) -> Timeline:
        """A timeline that goes on from the state after this group."""
        other = Timeline()
        other.states = {
            number: state for number, state in self.states.items() if number <= sequence
        }
        return other

    def on_write(self, path: str, offset: int, data: bytes) -> None:
        """Read the frames in what was written, if it is a log's."""
        if data[:8] == SEGMENT_MAGIC:
            at = SEGMENT_HEADER_BYTES
        elif data[:4] == FRAME_MAGIC and path.endswith(".seg"):
            at = 0
        else:
            return
        while data[at : at + 4] == FRAME_MAGIC:
            length, count, flags = _LENGTH.unpack_from(data, at + 12)
            (sequence,) = _SEQUENCE.unpack_from(data, at + 32)
            start = at + FRAME_HEADER_BYTES
            at = start + length
            if not flags & FLAG_CATALOG:
                self._add(sequence, decode_payload(data, start, at, count))

    def _add(self, sequence: int, records: list[Record]) -> None:
        state = self.states[sequence - 1]
        if records:
            state = after(state, records)
        self.states[sequence] = state


def message_of(queue: int, entry: Entry) -> Kept:
    """A message that joined a queue."""
    number, kind, body, headers, traits = entry
    made = Kept(queue, kind, body, headers, number, b"", 0, 0)
    return made if traits is None else with_traits(made, number, traits)


def with_traits(made: Kept, number: int, traits: Traits) -> Kept:
    """What its traits say of it."""
    return made._replace(
        rank=traits.rank or number,
        death=traits.death,
        due_ns=traits.due_ns,
        key=traits.key,
        priority=traits.priority,
        expires_ns=traits.expires_ns,
    )


class _Reading:
    """Records, one after the other, on top of a state."""

    def __init__(self, state: State) -> None:
        self.messages = dict(state.messages)
        self.queues, self.epoch, self.last_id = state.queues, state.epoch, state.last_id
        self.bindings, self.dedups = state.bindings, state.dedups

    def state(self) -> State:
        """What they all say."""
        return State(
            self.messages, self.queues, self.epoch, self.last_id, self.bindings, self.dedups
        )

    def see(self, record: Record) -> None:
        """The next record."""
        match record:
            case Put():
                self._joined(record.queue, record.entries)
            case Copied():
                self._joined(record.queue, [record.entry])
            case Settled():
                for number in record.ids:
                    self.messages.pop(number, None)
            case Returned():
                columns = zip(record.ids, record.attempts, record.due_ns, strict=True)
                for number, attempts, due_ns in columns:
                    self._change(number, attempts=attempts, due_ns=due_ns)
            case Moved():
                if record.id in self.messages:
                    self._change(record.id, queue=record.target, attempts=0)
                    moved = self.messages[record.id]
                    self.messages[record.id] = with_traits(moved, record.id, record.traits)
            case Delivered():
                ranks = dict(zip(record.ids, record.attempts, strict=True))
                for number, kept in self.messages.items():
                    if kept.queue == record.queue and ranks.get(kept.rank, 0) > kept.attempts:
                        self.messages[number] = kept._replace(attempts=ranks[kept.rank])
            case Declared():
                self.queues = {**self.queues, record.queue: (record.name, record.policy)}
            case Bound():
                name = (record.topic, record.queue, record.pattern)
                self.bindings = self.bindings | {name} if record.bound else self.bindings - {name}
            case Remembered():
                for dedup, number in zip(record.dedups, record.ids, strict=True):
                    self._remember(record.queue, dedup, number)
            case Opened():
                self.epoch = record.epoch
            case _:
                pass

    def _joined(self, queue: int, entries: list[Entry]) -> None:
        self.last_id = entries[-1][0]
        for entry in entries:
            self.messages[entry[0]] = message_of(queue, entry)
            if entry[4] is not None and entry[4].dedup:
                self._remember(queue, entry[4].dedup, entry[0])

    def _remember(self, queue: int, dedup: str, number: int) -> None:
        # What is carried on was put before, and perhaps again since.
        if number > self.dedups.get((queue, dedup), 0):
            self.dedups = {**self.dedups, (queue, dedup): number}

    def _change(self, number: int, **changes: Any) -> None:
        if number in self.messages:
            self.messages[number] = self.messages[number]._replace(**changes)


def after(state: State, records: list[Record]) -> State:
    """The state after these records."""
    reading = _Reading(state)
    for record in records:
        reading.see(record)
    return reading.state()
