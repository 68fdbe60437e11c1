"""What a repair could not read, and which messages that was, as far as can be known.

What is known of a lost group: the groups around it have ids, which are times and grow, so its
messages have ids between. If only its bytes are damaged they may still say which messages it put
and settled (*named* below; its checksum says that not all of it is right). And records that came
through name messages whose put did not.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

from posthouse.journal.codec import decode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.frames import Frame
from posthouse.journal.tools.faults import Fault
from posthouse.records import Copied, Moved, Put, Record, Returned, Settled


@dataclass(slots=True)
class Loss:
    """One part of the log that could not be read.

    Attributes:
        fault: where it is, and the groups that were in it.
        after_id: the highest message id before it; 0 for none.
        before_id: the lowest message id behind it; 0 for none.
        put: runs (first id, count) that its bytes name as put; not to be relied on.
        settled: ids that its bytes name as settled; not to be relied on.
    """

    fault: Fault
    after_id: int
    before_id: int = 0
    put: list[tuple[int, int]] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)


class Ledger:
    """The ids of what was read, and the losses between.

    Attributes:
        losses: in the order of the log.
        messages: put, in what was read.
        living: of these, those that nothing read settled.
        last_id: the highest id read.
    """

    def __init__(self) -> None:
        self.losses: list[Loss] = []
        self.messages = 0
        self.living = 0
        self.last_id = 0
        self._firsts = array("Q")
        self._ends = array("Q")
        self._named: dict[int, None] = {}

    def seen(self, last_id: int) -> None:
        """Messages up to this id were put before a segment that was read."""
        self.last_id = max(self.last_id, last_id)

    def lost_before(self, fault: Fault) -> None:
        """A part before all that was read is missing."""
        first = self._firsts[0] if self._firsts else 0
        self.losses.insert(0, Loss(fault, 0, first))

    def lost(self, fault: Fault, data: bytes, frame: Frame | None) -> None:
        """A part could not be read; ``frame`` if its header could."""
        loss = Loss(fault, self.last_id)
        if frame is not None and frame.end <= len(data):
            self._guess(loss, data, frame)
        self.losses.append(loss)

    def note(self, record: Record) -> None:
        """A record was read."""
        match record:
            case Put() if record.carried:
                self._carried(record.entries[0][0], len(record.entries))
            case Put():
                self._put(record.entries[0][0], len(record.entries))
            case Copied():
                self._put(record.entry[0], 1)
            case Settled():
                for message_id in record.ids:
                    self._named.pop(message_id, None)
                    self.living -= self._knows(message_id)
            case Returned():
                self._name(record.ids)
            case Moved():
                self._name([record.id])
            case _:
                pass

    def finish(self) -> None:
        """All was read: what came through later is not lost."""
        for loss in self.losses:
            loss.put = [
                (message_id, 1)
                for first, count in loss.put
                for message_id in range(first, first + count)
                if not self._knows(message_id)
            ]

    @property
    def lost_ids(self) -> list[int]:
        """Messages that records name as living, and whose bodies are in none that was read."""
        return sorted(self._named)

    def _put(self, first: int, count: int) -> None:
        for loss in reversed(self.losses):
            if loss.before_id:
                break
            loss.before_id = first
        self._add(first, count)

    def _carried(self, first: int, count: int) -> None:
        """Messages are written again: news only if their first put was lost."""
        for message_id in range(first, first + count):
            if not self._knows(message_id):
                self._add(message_id, 1)
                self._named.pop(message_id, None)

    def _add(self, first: int, count: int) -> None:
        self.messages += count
        self.living += count
        self.last_id = max(self.last_id, first + count - 1)
        if self._ends and self._ends[-1] == first:
            self._ends[-1] = first + count
        else:
            at = bisect_right(self._firsts, first)
            self._firsts.insert(at, first)
            self._ends.insert(at, first + count)

    def _knows(self, message_id: int) -> bool:
        index = bisect_right(self._firsts, message_id) - 1
        return index >= 0 and message_id < self._ends[index]

    def _name(self, ids: list[int]) -> None:
        for message_id in ids:
            if not self._knows(message_id):
                self._named[message_id] = None

    @staticmethod
    def _guess(loss: Loss, data: bytes, frame: Frame) -> None:
        try:
            records = decode_payload(data, frame.start, frame.end, frame.header.count)
        except BadRecord:
            return
        for record in records:
            match record:
                case Put():
                    loss.put.append((record.entries[0][0], len(record.entries)))
                case Copied():
                    loss.put.append((record.entry[0], 1))
                case Settled():
                    loss.settled += record.ids
                case _:
                    pass
