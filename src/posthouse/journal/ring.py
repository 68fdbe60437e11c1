"""The attempts ring: deliveries, written but not synced, so that they survive the process.

A file of two banks of fixed slots. A slot holds one run of consecutive ranks (the ids of messages
that were never moved) with one attempt number, the epoch, and its position in the log: after
which record of which group it happened. At recovery a slot counts only if it is of the last epoch
and the log has nothing newer to say of its messages. When a bank is full a snapshot goes into the
log and the other bank is used; a bank is written again only when the snapshot taken at its end is
durable. What is delivered until then goes behind the two banks, up to `OVERFLOW_BANKS` more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from posthouse.journal.columns import is_run
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import RING_NAME
from posthouse.records import Delivered

SLOT: Final = struct.Struct("<IIIHHQQ")
SLOT_BYTES: Final = 32
_EMPTY: Final = bytes(SLOT_BYTES)
_REST: Final = struct.Struct("<IIHHQQ")
_SEED: Final = 0x72696E67
OVERFLOW_BANKS: Final = 16
_NO_FD: Final = -1
_MAX_RUN: Final = 0xFFFF
_MAX_ATTEMPT: Final = 0xFFFF
_EPOCH_MASK: Final = 0xFFFFFFFF
_INDEX_BITS: Final = 16
_INDEX_MASK: Final = (1 << _INDEX_BITS) - 1


def position_of(sequence: int, index: int) -> int:
    """A place in the log as one growing number: before record ``index`` of group ``sequence``."""
    return sequence << _INDEX_BITS | min(index, _INDEX_MASK)


def pack_slot(
    epoch: int, queue: int, attempt: int, count: int, position: int, first_id: int
) -> bytes:
    """One slot: ``count`` messages from ``first_id`` on were handed out for this attempt."""
    rest = _REST.pack(
        epoch & _EPOCH_MASK, queue, min(attempt, _MAX_ATTEMPT), count, position, first_id
    )
    return zlib.crc32(rest, _SEED).to_bytes(4, "little") + rest


class RingReplay:
    """What the ring says of deliveries, less what the log says later."""

    def __init__(self, data: bytes) -> None:
        # rank -> {epoch: (position, queue, attempt)}; of one epoch the newest slot counts.
        self._seen: dict[int, dict[int, tuple[int, int, int]]] = {}
        self._ranks: dict[int, int] = {}
        for offset in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
            slot = data[offset : offset + SLOT_BYTES]
            if slot == _EMPTY:
                continue  # most are, and a checksum of each would be most of an opening
            checksum, epoch, queue, attempt, count, position, first = SLOT.unpack(slot)
            if zlib.crc32(slot[4:], _SEED) != checksum or not count:
                continue
            fact = (position, queue, attempt)
            for rank in range(first, first + count):
                epochs = self._seen.setdefault(rank, {})
                epochs[epoch] = max(fact, epochs.get(epoch, fact))

    def moved(self, message_id: int, rank: int) -> None:
        """The message has this rank from here on (0: its id); deliveries name it by that."""
        if rank in self._seen:
            self._ranks[message_id] = rank

    def forget(self, ids: Sequence[int], sequence: int, index: int) -> None:
        """The log's record ``index`` of group ``sequence`` decides about these messages."""
        if not self._seen:
            return
        position = position_of(sequence, index)
        names = set(ids)
        names |= {self._ranks[message_id] for message_id in self._ranks.keys() & names}
        for rank in self._seen.keys() & names:
            epochs = self._seen[rank]
            kept = {epoch: fact for epoch, fact in epochs.items() if fact[0] > position}
            if kept:
                self._seen[rank] = kept
            else:
                del self._seen[rank]

    def settled(self, first: int, last: int) -> None:
        """The messages with ids from the first to the last are gone for good."""
        seen, ranks = self._seen, self._ranks
        if not seen:
            return
        if last - first < len(seen):
            gone = list(range(first, last + 1))
        else:
            gone = [number for number in (*seen, *ranks) if first <= number <= last]
        for message_id in gone:
            seen.pop(message_id, None)
            seen.pop(ranks.get(message_id, 0), None)

    def deliveries(self, epoch: int) -> list[Delivered]:
        """What is left of this epoch, by queue and rank."""
        low = epoch & _EPOCH_MASK
        rows = sorted(
            (facts[low][1], rank, facts[low][2])
            for rank, facts in self._seen.items()
            if low in facts
        )
        found: list[Delivered] = []
        for queue, group in groupby(rows, key=lambda row: row[0]):
            mine = list(group)
            found.append(Delivered(queue, [row[1] for row in mine], [row[2] for row in mine]))
        return found


def read_ring(files: Files, directory: str) -> bytes:
    """The ring's bytes; none if there is no ring yet."""
    if RING_NAME not in files.listdir(directory):
        return b""
    fd = files.open(path_in(directory, RING_NAME))
    try:
        return files.pread(fd, files.size(fd), 0)
    finally:
        files.close(fd)


class Ring:
    """The writing side; on the loop. ``slots`` are those of one bank."""

    def __init__(self, files: Files, directory: str, slots: int) -> None:
        self._files = files
        self._path = path_in(directory, RING_NAME)
        self._bank_bytes = slots * SLOT_BYTES
        self._fd = _NO_FD
        self._epoch = 0
        self._bank = 0
        self._offset = 0
        self._overflow = 0

    def open(self, epoch: int) -> None:
        """Open or make the file, for deliveries of this epoch.

        Raises:
            OSError: it cannot be done.
        """
        self._epoch = epoch & _EPOCH_MASK
        self._fd = self._files.open(self._path, create=True)
        size, whole = self._files.size(self._fd), 2 * self._bank_bytes
        if size < whole:
            self._files.pwrite(self._fd, bytes(whole - size), size)
        elif size > whole:
            self._files.truncate(self._fd, whole)

    def write(
        self, queue: int, ids: Sequence[int], attempts: Sequence[int] | int, position: int
    ) -> bool:
        """Write one delivered batch with one ``pwrite``; False, and nothing, if the bank is full.

        Raises:
            OSError: the write failed.
        """
        data = self._slots(queue, ids, attempts, position)
        if self._offset + len(data) > self._bank_bytes:
            return False
        self._files.pwrite(self._fd, data, self._bank * self._bank_bytes + self._offset)
        self._offset += len(data)
        return True

    def write_one(self, queue: int, rank: int, attempt: int, position: int) -> bool:
        """`write` for one message: the way of every `get` and every message of an iterator."""
        offset = self._offset
        if offset + SLOT_BYTES > self._bank_bytes:
            return False
        rest = _REST.pack(
            self._epoch,
            queue,
            attempt if attempt < _MAX_ATTEMPT else _MAX_ATTEMPT,
            1,
            position,
            rank,
        )
        data = zlib.crc32(rest, _SEED).to_bytes(4, "little") + rest
        self._files.pwrite(self._fd, data, self._bank * self._bank_bytes + offset)
        self._offset = offset + SLOT_BYTES
        return True

    def write_over(
        self, queue: int, ids: Sequence[int], attempts: Sequence[int] | int, position: int
    ) -> bool:
        """Write a batch behind the two banks; False, and nothing, if that is full as well.

        Raises:
            OSError: the write failed.
        """
        data = self._slots(queue, ids, attempts, position)
        if self._overflow + len(data) > OVERFLOW_BANKS * self._bank_bytes:
            return False
        self._files.pwrite(self._fd, data, 2 * self._bank_bytes + self._overflow)
        self._overflow += len(data)
        return True

    def rewind_over(self) -> None:
        """What stands behind the two banks is not needed any more."""
        self._overflow = 0

    def _slots(
        self, queue: int, ids: Sequence[int], attempts: Sequence[int] | int, position: int
    ) -> bytes:
        if isinstance(attempts, int) and len(ids) <= _MAX_RUN and is_run(ids):
            return pack_slot(self._epoch, queue, attempts, len(ids), position, ids[0])
        return b"".join(
            pack_slot(self._epoch, queue, attempt, count, position, first)
            for first, count, attempt in _runs(ids, attempts)
        )

    def swap(self) -> None:
        """Go on at the beginning of the other bank, over what it holds."""
        self._bank = 1 - self._bank
        self._offset = 0

    def rewind(self) -> None:
        """Go on at the beginning of this bank, over what it holds."""
        self._offset = 0

    def fits(self, ids: Sequence[int], attempts: Sequence[int] | int) -> bool:
        """Whether an empty bank could hold this batch."""
        return sum(1 for _ in _runs(ids, attempts)) * SLOT_BYTES <= self._bank_bytes

    def close(self) -> None:
        """Close the file, if it is open."""
        if self._fd != _NO_FD:
            fd, self._fd = self._fd, _NO_FD
            self._files.close(fd)


def _runs(ids: Sequence[int], attempts: Sequence[int] | int) -> list[tuple[int, int, int]]:
    """(first id, count, attempt) of the batch, sorted by id."""
    column = [attempts] * len(ids) if isinstance(attempts, int) else attempts
    runs: list[tuple[int, int, int]] = []
    for message_id, attempt in sorted(zip(ids, column, strict=True)):
        if runs:
            first, count, same = runs[-1]
            if message_id == first + count and attempt == same and count < _MAX_RUN:
                runs[-1] = (first, count + 1, attempt)
                continue
        runs.append((message_id, 1, attempt))
    return runs
