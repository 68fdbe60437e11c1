"""In which order waiting messages are taken, where a plain first-in first-out deque is not enough.

Which structure for which order was measured; see `docs/structures.md`:

- ``fifo`` and ``priority`` are a deque for each level, which arrivals join at O(1), with one heap
  beside them for what comes back to an older place;
- ``lifo`` is a binary heap (`heapq`) by a key that is unique, so that a message which comes back
  finds its old place at O(log n);
- ``fair`` is a ring: each key's next message joins at the end, whatever its age.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import chain, islice
from typing import Final, Protocol

from posthouse.records import Entry

MOST_PRIORITY: Final = 255
PRIORITY_SHIFT: Final = 72


def rank_of(entry: Entry) -> int:
    """The entry's place in its queue's order of arrival."""
    traits = entry[4]
    return entry[0] if traits is None else traits.rank or entry[0]


def key_of(entry: Entry) -> str:
    """The entry's ordering key; "" for none."""
    traits = entry[4]
    return "" if traits is None else traits.key


def _lifo(entry: Entry) -> int:
    return -rank_of(entry)


def _one_level(entry: Entry) -> int:
    return 0


def _level(entry: Entry) -> int:
    traits = entry[4]
    return MOST_PRIORITY if traits is None else MOST_PRIORITY - traits.priority


def _priority(entry: Entry) -> int:
    return (_level(entry) << PRIORITY_SHIFT) + rank_of(entry)


def _walk(heap: list[tuple[int, Entry]]) -> Iterator[Entry]:
    """A heap in order: its first k at O(k log k), however many there are."""
    front = [(heap[0], 0)] if heap else []
    while front:
        (_, entry), at = heappop(front)
        yield entry
        for child in (2 * at + 1, 2 * at + 2):
            if child < len(heap):
                heappush(front, (heap[child], child))


def part_of(entries: deque[Entry], at: int, most: int) -> list[Entry]:
    """Up to ``most`` entries from index ``at`` on, in any order; looks from the nearer end."""
    count = len(entries)
    end = min(at + most, count)
    if at >= end:
        return []
    if at <= count - end:
        return list(islice(entries, at, end))
    return list(islice(reversed(entries), count - end, count - at))


class Order(Protocol):
    """Waiting messages in the order in which they are taken."""

    def add(self, entry: Entry) -> None:
        """A message joins."""

    def put_back(self, entry: Entry) -> None:
        """A message that was popped comes back to its place."""

    def pop(self) -> Entry:
        """The next one. Raises IndexError."""

    def peek(self) -> Entry:
        """The next one, which stays; there must be one."""

    def next_key(self) -> int:
        """The key of the next one; there must be one. 0 where `key` is None."""

    def shed(self) -> Entry | None:
        """One leaves whose turn is late, if not the last; None if none can be told quickly."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Entry]:
        """All of them, the next one first."""

    def discard(self, ranks: set[int]) -> None:
        """Messages leave, wherever they are."""

    def unordered(self) -> list[Entry]:
        """All of them, as they come: a copy."""

    def part(self, at: int, most: int) -> list[Entry]:
        """Up to ``most`` of them behind the first ``at``, as they come; none where there are none.

        Where something changed since an earlier part, some may be missing, or there again.
        """

    def holds(self, entry: Entry) -> bool:
        """Whether the message is among them; looks through all."""

    @property
    def key(self) -> Callable[[Entry], int] | None:
        """What orders them; None where `unordered` is in order."""


class HeapOrder:
    """By a key, smallest first; the key is unique for each message."""

    __slots__ = ("_heap", "_key")

    def __init__(self, key: Callable[[Entry], int]) -> None:
        self._key = key
        self._heap: list[tuple[int, Entry]] = []

    def add(self, entry: Entry) -> None:
        """A message joins."""
        heappush(self._heap, (self._key(entry), entry))

    put_back = add

    def pop(self) -> Entry:
        """The next one. Raises IndexError."""
        return heappop(self._heap)[1]

    def peek(self) -> Entry:
        """The next one, which stays; there must be one."""
        return self._heap[0][1]

    def next_key(self) -> int:
        """The key of the next one; there must be one."""
        return self._heap[0][0]

    def shed(self) -> Entry | None:
        """One leaves whose turn is late, if not the last."""
        # The first part of a heap is a heap.
        return self._heap.pop()[1] if self._heap else None

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[Entry]:
        """All of them, the next one first."""
        return _walk(self._heap)

    def discard(self, ranks: set[int]) -> None:
        """Messages leave, wherever they are."""
        self._heap = [row for row in self._heap if rank_of(row[1]) not in ranks]
        heapify(self._heap)

    def unordered(self) -> list[Entry]:
        """All of them, as they come: a copy."""
        return [entry for _, entry in self._heap]

    def part(self, at: int, most: int) -> list[Entry]:
        """Some of them: see `Order.part`."""
        return [entry for _, entry in self._heap[at : at + most]]

    def holds(self, entry: Entry) -> bool:
        """Whether the message is among them; looks through all."""
        return (self._key(entry), entry) in self._heap

    @property
    def key(self) -> Callable[[Entry], int]:
        """What orders them."""
        return self._key


class LevelOrder:
    """Level by level, the lowest first; within one by rank.

    Invariant: each level's deque is in growing rank; what would break that is in ``_late``.
    """

    __slots__ = ("_filled", "_key", "_late", "_level", "_levels", "_size")

    def __init__(self, key: Callable[[Entry], int], level: Callable[[Entry], int]) -> None:
        self._key = key
        self._level = level
        self._levels: dict[int, deque[Entry]] = {}
        self._filled = 0  # a bit for each level that has entries
        self._late: list[tuple[int, Entry]] = []
        self._size = 0

    def add(self, entry: Entry) -> None:
        """A message joins."""
        level = self._level(entry)
        entries = self._levels.get(level)
        if entries is None:
            entries = self._levels[level] = deque()
        if entries and rank_of(entries[-1]) > rank_of(entry):
            self.put_back(entry)
            return
        entries.append(entry)
        self._filled |= 1 << level
        self._size += 1

    def put_back(self, entry: Entry) -> None:
        """A message that was popped comes back to its place."""
        heappush(self._late, (self._key(entry), entry))
        self._size += 1

    def pop(self) -> Entry:
        """The next one. Raises IndexError."""
        lowest = self._filled & -self._filled
        late = self._late
        if not lowest:
            entry = heappop(late)[1]
            self._size -= 1
            return entry
        entries = self._levels[lowest.bit_length() - 1]
        self._size -= 1
        if late and late[0][0] < self._key(entries[0]):
            return heappop(late)[1]
        entry = entries.popleft()
        if not entries:
            self._filled ^= lowest
        return entry

    def peek(self) -> Entry:
        """The next one, which stays; there must be one."""
        late = self._late
        lowest = self._filled & -self._filled
        if not lowest:
            return late[0][1]
        entry = self._levels[lowest.bit_length() - 1][0]
        return late[0][1] if late and late[0][0] < self._key(entry) else entry

    def next_key(self) -> int:
        """The key of the next one; there must be one."""
        late = self._late
        lowest = self._filled & -self._filled
        if not lowest:
            return late[0][0]
        on_time = self._key(self._levels[lowest.bit_length() - 1][0])
        return min(on_time, late[0][0]) if late else on_time

    def shed(self) -> Entry | None:
        """One leaves whose turn is late: the last but for those that came back."""
        if not self._filled:
            return None
        level = self._filled.bit_length() - 1
        entries = self._levels[level]
        self._size -= 1
        entry = entries.pop()
        if not entries:
            self._filled ^= 1 << level
        return entry

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Entry]:
        """All of them, the next one first."""
        on_time = chain.from_iterable(self._levels[level] for level in sorted(self._levels))
        return merge(_walk(self._late), on_time, key=self._key)

    def discard(self, ranks: set[int]) -> None:
        """Messages leave, wherever they are."""
        kept = [entry for entry in self.unordered() if rank_of(entry) not in ranks]
        self._levels.clear()
        self._late.clear()
        self._filled = self._size = 0
        for entry in sorted(kept, key=self._key):
            self.add(entry)

    def unordered(self) -> list[Entry]:
        """All of them, as they come: a copy."""
        late = [entry for _, entry in self._late]
        return [*chain.from_iterable(self._levels.values()), *late]

    def part(self, at: int, most: int) -> list[Entry]:
        """Some of them: see `Order.part`."""
        found: list[Entry] = []
        for entries in self._levels.values():
            found += part_of(entries, at, most - len(found))
            at = max(0, at - len(entries))
        found += [entry for _, entry in self._late[at : at + most - len(found)]]
        return found

    def holds(self, entry: Entry) -> bool:
        """Whether the message is among them; looks through all of its level."""
        on_time = entry in self._levels.get(self._level(entry), ())
        return on_time or (self._key(entry), entry) in self._late

    @property
    def key(self) -> Callable[[Entry], int]:
        """What orders them."""
        return self._key


class RingOrder:
    """In turn: what joins is last, what comes back is first."""

    __slots__ = ("_ring",)

    def __init__(self) -> None:
        self._ring: deque[Entry] = deque()

    def add(self, entry: Entry) -> None:
        """A message joins."""
        self._ring.append(entry)

    def put_back(self, entry: Entry) -> None:
        """A message that was popped comes back."""
        self._ring.appendleft(entry)

    def pop(self) -> Entry:
        """The next one. Raises IndexError."""
        return self._ring.popleft()

    def peek(self) -> Entry:
        """The next one, which stays; there must be one."""
        return self._ring[0]

    def next_key(self) -> int:
        """0: what is next is no matter of a key."""
        return 0

    def shed(self) -> Entry | None:
        """None: each key's next one is here."""
        return None

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[Entry]:
        """All of them, the next one first."""
        return iter(self._ring)

    def discard(self, ranks: set[int]) -> None:
        """Messages leave, wherever they are."""
        self._ring = deque(entry for entry in self._ring if rank_of(entry) not in ranks)

    def unordered(self) -> list[Entry]:
        """All of them, in order: a copy."""
        return list(self._ring)

    def part(self, at: int, most: int) -> list[Entry]:
        """Some of them: see `Order.part`."""
        return part_of(self._ring, at, most)

    def holds(self, entry: Entry) -> bool:
        """Whether the message is among them; looks through all."""
        return entry in self._ring

    @property
    def key(self) -> None:
        """None: `unordered` is in order."""


def make_order(name: str, *, fair: bool) -> Order:
    """The structure for a policy's order."""
    if fair:
        return RingOrder()
    if name == "lifo":
        return HeapOrder(_lifo)
    if name == "priority":
        return LevelOrder(_priority, _level)
    return LevelOrder(rank_of, _one_level)
