"""What every new segment begins with, so that any suffix of the segments stands alone."""

from __future__ import annotations

from posthouse.journal.codec import size_bound
from posthouse.records import Bound, Declared, Record


class Catalog:
    """The newest declaration of every queue, and every binding in force.

    Attributes:
        size_bytes: at most so much they take.
    """

    __slots__ = ("_bindings", "_queues", "size_bytes")

    def __init__(self) -> None:
        self._queues: dict[int, Declared] = {}
        self._bindings: dict[tuple[str, int, str], Bound] = {}
        self.size_bytes = 0

    def note(self, record: Declared | Bound) -> None:
        """A queue was declared, or a binding made or ended."""
        if isinstance(record, Declared):
            self._replace(self._queues.get(record.queue), record)
            self._queues[record.queue] = record
            return
        name = (record.topic, record.queue, record.pattern)
        if record.bound:
            self._replace(self._bindings.get(name), record)
            self._bindings[name] = record
        else:
            self._replace(self._bindings.pop(name, None), None)

    def _replace(self, old: Record | None, new: Record | None) -> None:
        self.size_bytes += 0 if new is None else size_bound(new)
        self.size_bytes -= 0 if old is None else size_bound(old)

    def records(self) -> list[Record]:
        """All of it, in an order in which it can be applied."""
        return [*self._queues.values(), *self._bindings.values()]
