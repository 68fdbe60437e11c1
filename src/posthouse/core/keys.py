"""Ordering keys: the messages of one key, in order, so many at a time.

Of each key at most one message steps out to stand among those that may be taken; the others wait
in the key's line. The next one steps out when there is room for the key: at once when ``limit`` is
None, else when fewer than ``limit`` of its messages are out. With the default limit of 1 a key's
messages are delivered one at a time and in order, and one that is retried holds back its own key
only. Where nothing asks for lines (no limit, no rate, no fairness) all of them stand.

The key "" is the turn of the messages without a key, in a fair queue: no limit and no rate.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator

from posthouse.core.limits import Rate
from posthouse.core.orders import part_of, rank_of
from posthouse.records import Entry


class KeyLine:
    """One key: who waits in line, the ranks that stand, how many are held.

    There may be as many of these as messages: the deque, 600 bytes, comes when it is needed.
    """

    __slots__ = ("held", "line", "rate", "standing")

    def __init__(self, rate: str | None) -> None:
        self.line: deque[Entry] | None = None
        self.standing: tuple[int, ...] = ()
        self.held = 0
        self.rate = None if rate is None else Rate(rate)


class KeyLines:
    """All keys of a queue that have messages.

    Attributes:
        lined: messages in lines.
    """

    __slots__ = ("_fair", "_keys", "_limit", "_rate", "lined")

    def __init__(self, limit: int | None, rate: str | None, *, fair: bool) -> None:
        self._keys: dict[str, KeyLine] = {}
        self._limit = limit
        self._rate = rate
        self._fair = fair
        self.lined = 0

    def reset(self, limit: int | None, rate: str | None, *, fair: bool) -> list[Entry]:
        """Take a policy's settings, forget what stands, and return what was in lines.

        What is held is still known, and so is how far each key is in a rate that stays.
        """
        entries = self.entries()
        for line in self._keys.values():
            line.line = None
            line.standing = ()
            if rate != self._rate:
                line.rate = None if rate is None else Rate(rate)
        self._limit, self._rate, self._fair = limit, rate, fair
        self.lined = 0
        return entries

    @property
    def _free(self) -> bool:
        return self._limit is None and self._rate is None and not self._fair

    def _of(self, key: str) -> KeyLine:
        line = self._keys.get(key)
        if line is None:
            line = self._keys[key] = KeyLine(self._rate if key else None)
        return line

    def _has_room(self, key: str, line: KeyLine) -> bool:
        if line.standing:
            return False
        return self._limit is None or not key or line.held < self._limit

    # coming in

    def join(self, key: str, entry: Entry) -> bool:
        """A new message: True if it may stand now, False if it waits in its line."""
        if self._free:
            return True
        line = self._of(key)
        if line.line or not self._has_room(key, line):
            if line.line is None:
                line.line = deque()
            rank = rank_of(entry)
            if line.line and rank < rank_of(line.line[-1]):
                # Its delay is over, in a fair queue's line of those without a key.
                line.line.insert(bisect_left(line.line, rank, key=rank_of), entry)
            else:
                line.line.append(entry)
            self.lined += 1
            return False
        line.standing += (rank_of(entry),)
        return True

    def returned(self, key: str, rank: int) -> None:
        """A held message stands again."""
        line = self._of(key)
        line.held = max(line.held - 1, 0)
        if not self._free:
            line.standing += (rank,)

    # going out

    def taken(self, key: str, rank: int, now_ns: int) -> None:
        """A standing message was taken."""
        line = self._of(key)
        line.standing = _without(line.standing, rank)
        line.held += 1
        if line.rate is not None:
            line.rate.take(now_ns)

    def left(self, key: str) -> None:
        """A held message left the queue, or does not stand while it is delayed."""
        line = self._of(key)
        line.held = max(line.held - 1, 0)

    def gone(self, key: str, rank: int) -> None:
        """If this one stood, it does no more."""
        line = self._keys.get(key)
        if line is not None and rank in line.standing:
            line.standing = _without(line.standing, rank)

    def next_of(self, key: str) -> Entry | None:
        """The key's next message that may stand now, if one may; it does from now on."""
        line = self._keys.get(key)
        if line is None:
            return None
        if not line.line:
            line.line = None
            # A key's rate must outlive its messages.
            if line.rate is None and not line.standing and not line.held:
                del self._keys[key]
            return None
        if not self._has_room(key, line):
            return None
        self.lined -= 1
        entry = line.line.popleft()
        line.standing += (rank_of(entry),)
        return entry

    def line_of(self, key: str) -> Iterator[Entry]:
        """What waits in the key's line, in order; only as long as nothing changes."""
        line = self._keys.get(key)
        return iter(() if line is None or not line.line else line.line)

    def free_ns(self, key: str) -> int:
        """When the key's rate lets one more be taken; 0 for now."""
        line = self._keys.get(key)
        return 0 if line is None or line.rate is None else line.rate.free_ns()

    # all of them

    def entries(self) -> list[Entry]:
        """All that wait in lines."""
        return [entry for line in self._keys.values() for entry in line.line or ()]

    def parts(self, most: int) -> Iterator[list[Entry]]:
        """All that wait in lines, up to ``most`` at a time: as it is when the part is asked for.

        Between two parts anything may change; then some may be missing, or there again.
        """
        part: list[Entry] = []
        for looked, key in enumerate(list(self._keys), 1):
            at = 0
            while (line := self._keys.get(key)) is not None and line.line and at < len(line.line):
                taken = part_of(line.line, at, most - len(part))
                part += taken
                at += len(taken)
                if len(part) >= most:
                    yield part
                    part = []
            if looked % most == 0:
                yield part
                part = []
        yield part

    def discard(self, ranks: set[int]) -> None:
        """Take messages out of their lines."""
        for line in self._keys.values():
            if line.line:
                kept = deque(entry for entry in line.line if rank_of(entry) not in ranks)
                self.lined -= len(line.line) - len(kept)
                line.line = kept or None

    def clear(self) -> None:
        """Nothing waits any more."""
        for line in self._keys.values():
            line.line = None
            line.standing = ()
        self.lined = 0
        for key in list(self._keys):
            self.next_of(key)  # forgets it if it is idle

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


def _without(ranks: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return () if ranks == (rank,) else tuple(other for other in ranks if other != rank)
