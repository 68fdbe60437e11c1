"""Ordering keys: the messages of one key, in order, so many at a time.

Of each key at most one message stands among those that may be taken; the others wait in the key's
line. The next one steps out when there is room for the key: at once when ``limit`` is None, else
when fewer than ``limit`` of its messages are out. With the default limit of 1 a key's messages
are delivered one at a time and in order, and one that is retried holds back its own key only.
"""

from __future__ import annotations

from collections import deque

from posthouse.core.limits import Rate
from posthouse.records import Entry


class KeyLine:
    """One key: who waits, how many stand (waiting their turn or due time) and are held."""

    __slots__ = ("held", "line", "rate", "standing")

    def __init__(self, rate: str | None) -> None:
        self.line: deque[Entry] = deque()
        self.standing = 0
        self.held = 0
        self.rate = None if rate is None else Rate(rate)


class KeyLines:
    """All keys of a queue that have messages."""

    __slots__ = ("_keys", "_limit", "_rate", "lined")

    def __init__(self, limit: int | None, rate: str | None) -> None:
        self._keys: dict[str, KeyLine] = {}
        self._limit = limit
        self._rate = rate
        self.lined = 0

    def configure(self, limit: int | None, rate: str | None) -> None:
        """Take a policy's limits. Rates begin anew."""
        self._limit = limit
        self._rate = rate
        for line in self._keys.values():
            line.rate = None if rate is None else Rate(rate)

    def _of(self, key: str) -> KeyLine:
        line = self._keys.get(key)
        if line is None:
            line = self._keys[key] = KeyLine(self._rate)
        return line

    def join(self, key: str, entry: Entry) -> bool:
        """A new message: True if it may stand now, False if it waits in its line."""
        line = self._of(key)
        if line.line or not self._has_room(line):
            line.line.append(entry)
            self.lined += 1
            return False
        line.standing += 1
        return True

    def _has_room(self, line: KeyLine) -> bool:
        return line.standing < 1 and (self._limit is None or line.held < self._limit)

    def taken(self, key: str, now_ns: int) -> None:
        """A standing message was taken."""
        line = self._of(key)
        line.standing -= 1
        line.held += 1
        if line.rate is not None:
            line.rate.take(now_ns)

    def returned(self, key: str) -> None:
        """A held message stands again."""
        line = self._of(key)
        line.held -= 1
        line.standing += 1

    def left(self, key: str, *, held: bool) -> None:
        """A held (or standing) message left the queue."""
        line = self._of(key)
        if held:
            line.held -= 1
        else:
            line.standing -= 1

    def next_of(self, key: str) -> tuple[Entry, int] | None:
        """The key's next message that may stand now: (entry, not before); None if none may."""
        line = self._keys.get(key)
        if line is None:
            return None
        if not line.line:
            idle = line.rate is None  # a key's rate must outlive its messages
            if idle and not line.standing and not line.held:
                del self._keys[key]
            return None
        if not self._has_room(line):
            return None
        self.lined -= 1
        line.standing += 1
        return line.line.popleft(), 0 if line.rate is None else line.rate.free_ns()

    def not_before(self, key: str) -> int:
        """When the key's rate lets one more be taken; 0 for now."""
        line = self._of(key)
        return 0 if line.rate is None else line.rate.free_ns()

    def entries(self) -> list[Entry]:
        """All that wait in lines."""
        return [entry for line in self._keys.values() for entry in line.line]

    def drop_lines(self) -> list[Entry]:
        """Empty all lines: what was in them."""
        entries = self.entries()
        for line in self._keys.values():
            line.line.clear()
        self.lined = 0
        return entries

    def forget_idle(self, now_ns: int) -> None:
        """Drop keys without messages whose rate is free again."""
        idle = [
            key
            for key, line in self._keys.items()
            if not line.line
            and not line.standing
            and not line.held
            and (line.rate is None or line.rate.free_ns() <= now_ns)
        ]
        for key in idle:
            del self._keys[key]

    def __len__(self) -> int:
        return len(self._keys)
