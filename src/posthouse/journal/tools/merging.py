"""The records of a log with holes, made replayable: queues and bindings as they should be known."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from posthouse.journal.tools.queues import queues_of
from posthouse.model import QueuePolicy
from posthouse.records import Bound, Closed, Declared, Opened, Record

_Binding = tuple[str, int, str]


class Mender:
    """Follows what a replay would know, and says what it must be told besides.

    ``search()`` finds the declarations in the whole log, by queue; it is asked only when a queue
    is named that was not declared before.

    Attributes:
        epoch: of the last opening read.
        invented: names given to queues whose declaration is in nothing that can be read.
    """

    def __init__(self, search: Callable[[], dict[int, Declared]]) -> None:
        self._search = search
        self._found: dict[int, Declared] | None = None
        self._names: dict[int, str] = {}
        self._bindings: set[_Binding] = set()
        self.epoch = 0
        self.invented: list[str] = []

    def group(self, records: Iterable[Record]) -> list[Record]:
        """The records of a group, with declarations before those that lack one."""
        told: list[Record] = []
        for record in records:
            if isinstance(record, Closed):
                continue  # the new log has a close of its own
            if isinstance(record, Declared):
                self._names[record.queue] = record.name
            unknown = [queue for queue in queues_of(record) if queue not in self._names]
            told += [self._declare(queue) for queue in dict.fromkeys(unknown)]
            self._follow(record)
            told.append(record)
        return told

    def catalog(self, records: list[Record]) -> list[Record]:
        """What a segment's catalog says and replay does not know yet, after something was lost."""
        told: list[Record] = []
        bindings: set[_Binding] = set()
        for record in records:
            match record:
                case Opened():
                    if record.epoch <= self.epoch:
                        continue  # said twice it would mean that what was held has been judged
                case Bound():
                    bindings.add((record.topic, record.queue, record.pattern))
                case _:
                    pass
            told.append(record)
        for topic, queue, pattern in sorted(self._bindings - bindings):
            told.append(Bound(topic, queue, pattern, False))
        return self.group(told)

    def _follow(self, record: Record) -> None:
        match record:
            case Opened():
                self.epoch = max(self.epoch, record.epoch)
            case Bound():
                binding = (record.topic, record.queue, record.pattern)
                if record.bound:
                    self._bindings.add(binding)
                else:
                    self._bindings.discard(binding)
            case _:
                pass

    def _declare(self, queue: int) -> Declared:
        if self._found is None:
            self._found = self._search()
        declared = self._found.get(queue)
        if declared is None or declared.name in self._names.values():
            taken = {*self._names.values(), *(each.name for each in self._found.values())}
            name = f"recovered.{queue}"
            while name in taken:
                name += ".again"
            declared = Declared(queue, name, QueuePolicy())
            self.invented.append(name)
        self._names[queue] = declared.name
        return declared
