"""What the log says after each of its groups, read from the bytes as they are written.

A second, plain reading of the records: after a crash the broker must hold exactly what one of
these states says, so that groups (and the transactions in them) are whole and in order.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from posthouse.journal.codec import decode_payload
from posthouse.journal.format import (
    FLAG_CATALOG,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    SEGMENT_MAGIC,
)
from posthouse.model import QueuePolicy
from posthouse.records import Declared, Delivered, Moved, Opened, Put, Record, Returned, Settled

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


class State(NamedTuple):
    """Messages by id, queues by number, the last epoch: all that a log says."""

    messages: dict[int, Kept]
    queues: dict[int, tuple[str, QueuePolicy]]
    epoch: int
    last_id: int = 0


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


def after(state: State, records: list[Record]) -> State:
    """The state after these records."""
    messages, queues, epoch = dict(state.messages), state.queues, state.epoch
    last_id = state.last_id
    for record in records:
        match record:
            case Put():
                last_id = record.entries[-1][0]
                for number, kind, body, headers, traits in record.entries:
                    rank, death, due_ns = number, b"", 0
                    if traits is not None:
                        rank, death, due_ns = traits.rank or number, traits.death, traits.due_ns
                    messages[number] = Kept(
                        record.queue, kind, body, headers, rank, death, due_ns, 0
                    )
            case Settled():
                for number in record.ids:
                    messages.pop(number, None)
            case Returned():
                columns = zip(record.ids, record.attempts, record.due_ns, strict=True)
                for number, attempts, due_ns in columns:
                    if number in messages:
                        messages[number] = messages[number]._replace(
                            attempts=attempts, due_ns=due_ns
                        )
            case Moved():
                if record.id in messages:
                    traits = record.traits
                    messages[record.id] = messages[record.id]._replace(
                        queue=record.target,
                        rank=traits.rank or record.id,
                        death=traits.death,
                        due_ns=traits.due_ns,
                        attempts=0,
                    )
            case Delivered():
                ranks = dict(zip(record.ids, record.attempts, strict=True))
                for number, kept in messages.items():
                    if kept.queue == record.queue and ranks.get(kept.rank, 0) > kept.attempts:
                        messages[number] = kept._replace(attempts=ranks[kept.rank])
            case Declared():
                queues = {**queues, record.queue: (record.name, record.policy)}
            case Opened():
                epoch = record.epoch
            case _:
                pass
    return State(messages, queues, epoch, last_id)
