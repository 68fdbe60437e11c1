"""Which data structure for which use: ``python -m bench.structures``.

For each use, several structures that could do it, filled with so many entries; then each operation
is a put and a take at that depth. Prints the table of ``docs/structures.md``.
"""

from __future__ import annotations

import gc
import random
import sys
import time
import tracemalloc
from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, Protocol

DEPTHS: Final = (1_000, 100_000, 1_000_000)
LEVELS: Final = 256
SPEND_S: Final = 0.3
LONGEST_FILL_S: Final = 10.0


class Structure(Protocol):
    """What is measured: a put and a take of (key, entry)."""

    def put(self, key: int, entry: object) -> None: ...
    def take(self) -> object: ...


# First in, first out


class Deque:
    """collections.deque."""

    def __init__(self) -> None:
        self._items: deque[object] = deque()

    def put(self, key: int, entry: object) -> None:
        self._items.append(entry)

    def take(self) -> object:
        return self._items.popleft()


class List:
    """list, pop(0)."""

    def __init__(self) -> None:
        self._items: list[object] = []

    def put(self, key: int, entry: object) -> None:
        self._items.append(entry)

    def take(self) -> object:
        return self._items.pop(0)


class Linked:
    """A linked list of two-element lists."""

    def __init__(self) -> None:
        self._head: list[Any] = [None, None]
        self._tail = self._head

    def put(self, key: int, entry: object) -> None:
        node = [entry, None]
        self._tail[1] = node
        self._tail = node

    def take(self) -> object:
        self._head = self._head[1]
        entry: object = self._head[0]
        self._head[0] = None
        return entry


# By key, the smallest first


class Heap:
    """heapq of (key, entry)."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, object]] = []

    def put(self, key: int, entry: object) -> None:
        heappush(self._heap, (key, entry))

    def take(self) -> object:
        return heappop(self._heap)[1]


class Sorted:
    """A list kept sorted by bisect.insort, smallest last."""

    def __init__(self) -> None:
        self._items: list[tuple[int, object]] = []

    def put(self, key: int, entry: object) -> None:
        insort(self._items, (-key, entry))

    def take(self) -> object:
        return self._items.pop()[1]


class Buckets:
    """A deque for each of 256 priorities, and a bit for each that is not empty.

    It cannot put back a message into its place among those of its priority.
    """

    def __init__(self) -> None:
        self._buckets: list[deque[object]] = [deque() for _ in range(LEVELS)]
        self._filled = 0

    def put(self, key: int, entry: object) -> None:
        level = key >> _RANK_BITS
        self._buckets[level].append(entry)
        self._filled |= 1 << level

    def take(self) -> object:
        lowest = self._filled & -self._filled
        bucket = self._buckets[lowest.bit_length() - 1]
        entry = bucket.popleft()
        if not bucket:
            self._filled ^= lowest
        return entry


class SkipList:
    """Pugh's skip list, a quarter of the nodes on each next level."""

    _MOST = 12

    def __init__(self) -> None:
        self._head: list[Any] = [-1, None, *[None] * self._MOST]
        self._chance = random.Random(7).random

    def put(self, key: int, entry: object) -> None:
        before = self._head
        path: list[list[Any]] = [before] * self._MOST
        for level in range(self._MOST - 1, -1, -1):
            while (after := before[level + 2]) is not None and after[0] < key:
                before = after
            path[level] = before
        height = 1
        while height < self._MOST and self._chance() < 0.25:
            height += 1
        node: list[Any] = [key, entry]
        for level in range(height):
            node.append(path[level][level + 2])
            path[level][level + 2] = node

    def take(self) -> object:
        first: list[Any] = self._head[2]
        for level in range(len(first) - 2):
            self._head[level + 2] = first[level + 2]
        entry: object = first[1]
        return entry


class Treap:
    """A balanced tree: Seidel and Aragon's treap, by split and descent."""

    def __init__(self) -> None:
        self._root: list[Any] | None = None  # [key, entry, weight, left, right]
        self._chance = random.Random(7).random

    def put(self, key: int, entry: object) -> None:
        weight = self._chance()
        parent, side, node = None, 3, self._root
        while node is not None and node[2] < weight:
            parent, side = node, 3 if key < node[0] else 4
            node = node[side]
        new: list[Any] = [key, entry, weight, None, None]
        # Split what is below by the key: into the new node's two sides.
        left, left_side, right, right_side = new, 3, new, 4
        while node is not None:
            if node[0] < key:
                left[left_side] = node
                left, left_side, node = node, 4, node[4]
            else:
                right[right_side] = node
                right, right_side, node = node, 3, node[3]
        left[left_side] = None
        right[right_side] = None
        if parent is None:
            self._root = new
        else:
            parent[side] = new

    def take(self) -> object:
        parent, node = None, self._root
        assert node is not None
        while node[3] is not None:
            parent, node = node, node[3]
        if parent is None:
            self._root = node[4]
        else:
            parent[3] = node[4]
        entry: object = node[1]
        return entry


# Dedup ids: put, look up, and the oldest goes


class Ordered:
    """collections.OrderedDict."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, int] = OrderedDict()

    def put(self, key: int, entry: object) -> None:
        self._ids[str(key)] = key

    def take(self) -> object:
        return self._ids.popitem(last=False)


class Dict:
    """dict: the oldest is next(iter(d))."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def put(self, key: int, entry: object) -> None:
        self._ids[str(key)] = key

    def take(self) -> object:
        oldest = next(iter(self._ids))
        return self._ids.pop(oldest)


class DictAndDeque:
    """dict for looking up, deque for the age."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._age: deque[str] = deque()

    def put(self, key: int, entry: object) -> None:
        name = str(key)
        self._ids[name] = key
        self._age.append(name)

    def take(self) -> object:
        return self._ids.pop(self._age.popleft())


_RANK_BITS: Final = 64


def arrivals() -> Callable[[int], int]:
    """Keys that grow: first in, first out."""
    return lambda number: number


def priorities() -> Callable[[int], int]:
    """A level drawn evenly, then the rank."""
    chance = random.Random(3)
    return lambda number: (chance.randrange(LEVELS) << _RANK_BITS) + number


def comings_back() -> Callable[[int], int]:
    """Messages that come back: their ranks are older than most that wait."""
    chance = random.Random(3)
    return lambda number: (max(0, number - chance.randrange(2_000)) << 32) + number


@dataclass
class Use:
    """What a structure is for, and those that could do it."""

    name: str
    keys: Callable[[], Callable[[int], int]]
    candidates: list[type[Structure]]
    rows: list[tuple[str, str]] = field(default_factory=list)


USES: Final = [
    Use("plain FIFO", arrivals, [Deque, List, Linked]),
    Use("priority", priorities, [Heap, Buckets, Sorted, SkipList, Treap]),
    Use("what comes back", comings_back, [Heap, Sorted, SkipList, Treap]),
    Use("dedup window", arrivals, [Ordered, Dict, DictAndDeque]),
]


def filled(make: type[Structure], depth: int, key_of: Callable[[int], int]) -> Structure | None:
    """The structure with ``depth`` entries; None where that takes too long."""
    structure = make()
    entry = object()
    begun = time.perf_counter()
    for number in range(depth):
        structure.put(key_of(number), entry)
        if not number & 1023 and time.perf_counter() - begun > LONGEST_FILL_S:
            return None
    return structure


def ns_per_operation(structure: Structure, depth: int, keys: Iterable[int]) -> float:
    """Nanoseconds for a put and a take, at this depth."""
    put, take, entry = structure.put, structure.take, object()
    stream = list(keys)
    done = 0
    begun = time.perf_counter_ns()
    spent = 0
    while spent < SPEND_S * 1e9 and done + 64 <= len(stream):
        for key in stream[done : done + 64]:
            put(key, entry)
            take()
        done += 64
        spent = time.perf_counter_ns() - begun
    return spent / done


def bytes_per_entry(make: type[Structure], depth: int, keys: Callable[[int], int]) -> float:
    """Bytes that the structure has for each entry: its nodes, keys and tuples, no entry."""
    gc.collect()
    tracemalloc.start()
    structure = filled(make, depth, keys)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del structure
    return used / depth


def row(use: Use, make: type[Structure]) -> str:
    """One line of the table."""
    cells = []
    for depth in DEPTHS:
        key_of = use.keys()
        gc.disable()
        structure = filled(make, depth, key_of)
        if structure is None:
            cells.append("-")
        else:
            stream = (key_of(number) for number in range(depth, depth + 200_000))
            cells.append(f"{ns_per_operation(structure, depth, stream):,.0f}")
        del structure
        gc.enable()
    size = bytes_per_entry(make, 100_000, use.keys())
    first_line = (make.__doc__ or "").splitlines()[0].rstrip(".")
    return f"| {use.name} | {first_line} | {' | '.join(cells)} | {size:,.0f} |"


def main() -> None:
    """Print the table."""
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"CPython {version}; nanoseconds for a put and a take\n")
    print("| use | structure | 1,000 | 100,000 | 1,000,000 | bytes an entry |")
    print("|---|---|---:|---:|---:|---:|")
    for use in USES:
        for make in use.candidates:
            print(row(use, make), flush=True)


if __name__ == "__main__":
    main()
