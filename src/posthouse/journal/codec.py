"""Records to bytes and back. Columnar: the cost in Python is per record, not per message.

A record is a header of 8 bytes (type u8, flags u8, kind u16, length of what follows u32) and its
fields. `docs/log-format.md` has the grammar.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import repeat
from typing import Any, Final

import msgspec

from posthouse.journal.columns import (
    BadRecord,
    is_run,
    read_blobs,
    read_u32s,
    read_u64s,
    u32s,
    u64s,
)
from posthouse.journal.format import (
    FRAME_ALIGN,
    FRAME_HEADER_BYTES,
    PUT_OVERHEAD_BYTES,
    RECORD_HEADER,
    RECORD_HEADER_BYTES,
    SETTLE_BYTES,
    SETTLE_RESERVE_BYTES,
    TRAITS_EXTRA_BYTES,
    padding,
)
from posthouse.journal.policies import decode_policy, encode_policy
from posthouse.model import MAX_DEDUP_BYTES, MAX_KEY_BYTES
from posthouse.records import (
    Accepted,
    Bound,
    Closed,
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

TYPE_OPENED: Final = 1
TYPE_CLOSED: Final = 2
TYPE_DECLARED: Final = 3
TYPE_PUT: Final = 4
TYPE_SETTLED: Final = 5
TYPE_RETURNED: Final = 6
TYPE_MOVED: Final = 7
TYPE_DELIVERED: Final = 8
TYPE_COPIED: Final = 9
TYPE_BOUND: Final = 10
TYPE_REMEMBERED: Final = 11
TYPE_ACCEPTED: Final = 12

PUT_KINDS: Final = 1
PUT_HEADERS: Final = 2
PUT_TRAITS: Final = 4
PUT_CARRIED: Final = 8
SETTLED_RUN: Final = 1
MAX_RUN: Final = 1 << 24
"""Ids in one run: it costs 16 bytes whatever its length, so what it may ask for is bounded."""

PUT_FIELDS = struct.Struct("<IIQQQ")
_COUNTED = struct.Struct("<II")
_TWO_U64 = struct.Struct("<QQ")
_U64 = struct.Struct("<Q")
_DECLARED = struct.Struct("<II")
_MOVED = struct.Struct("<IIQ")
COPIED_FIELDS = struct.Struct("<IIQQQQ")
_BOUND = struct.Struct("<IIII")
_ACCEPTED = struct.Struct("<QI")

_encode_msgpack = msgspec.msgpack.Encoder().encode
decode_traits = msgspec.msgpack.Decoder(Traits).decode

Parts = list[bytes]


def _encode_put(record: Put, parts: Parts) -> None:
    entries = record.entries
    count = len(entries)
    ids: tuple[int, ...]
    kinds: tuple[int, ...]
    bodies: tuple[bytes, ...]
    headers: tuple[bytes, ...]
    traits: tuple[Traits | None, ...]
    ids, kinds, bodies, headers, traits = zip(*entries, strict=True)
    if ids[-1] - ids[0] != count - 1:
        raise ValueError("the ids of one put are consecutive")
    flags, kind = PUT_CARRIED if record.carried else 0, kinds[0]
    columns = [
        PUT_FIELDS.pack(record.queue, count, record.producer, record.sequence, ids[0]),
        u32s(map(len, bodies)),
    ]
    extras: Parts = []
    if kinds.count(kind) != count:
        flags, kind = flags | PUT_KINDS, 0
        columns.append(bytes(kinds))
    if any(headers):
        flags |= PUT_HEADERS
        columns.append(u32s(map(len, headers)))
        extras.extend(headers)
    if traits.count(None) != count:
        flags |= PUT_TRAITS
        packed = [b"" if trait is None else _encode_msgpack(trait) for trait in traits]
        columns.append(u32s(map(len, packed)))
        extras.extend(packed)
    length = sum(map(len, columns)) + sum(map(len, bodies)) + sum(map(len, extras))
    parts.append(RECORD_HEADER.pack(TYPE_PUT, flags, kind, length))
    parts.extend(columns)
    parts.extend(bodies)
    parts.extend(extras)


def _decode_put(data: bytes, start: int, end: int, flags: int, kind: int) -> Put:
    queue, count, producer, sequence, first = PUT_FIELDS.unpack_from(data, start)
    _check_put(count, flags, kind)
    sizes, at = read_u32s(data, start + PUT_FIELDS.size, count, end)
    kinds: Any = repeat(kind, count)
    header_sizes: Any = None
    traits_sizes: Any = None
    if flags & PUT_KINDS:
        kinds, at = data[at : at + count], at + count
    if flags & PUT_HEADERS:
        header_sizes, at = read_u32s(data, at, count, end)
    if flags & PUT_TRAITS:
        traits_sizes, at = read_u32s(data, at, count, end)
    bodies, at = read_blobs(data, at, sizes, end)
    headers: Any = repeat(b"", count)
    traits: Any = repeat(None, count)
    if header_sizes is not None:
        headers, at = read_blobs(data, at, header_sizes, end)
    if traits_sizes is not None:
        packed, at = read_blobs(data, at, traits_sizes, end)
        traits = [decode_traits(piece) if piece else None for piece in packed]
    _check_end(at, end)
    ids = range(first, first + count)
    entries: list[Entry] = list(zip(ids, kinds, bodies, headers, traits, strict=True))
    return Put(queue, producer, sequence, entries, bool(flags & PUT_CARRIED))


def _check_put(count: int, flags: int, kind: int) -> None:
    if not count or flags & ~(PUT_KINDS | PUT_HEADERS | PUT_TRAITS | PUT_CARRIED) or kind > 255:
        raise BadRecord("a put that is empty or of a kind that is not known")


def _encode_settled(record: Settled, parts: Parts) -> None:
    ids = record.ids
    count = len(ids)
    run = count <= MAX_RUN and is_run(ids)
    column = _U64.pack(ids[0]) if run else u64s(ids)
    parts.append(
        RECORD_HEADER.pack(TYPE_SETTLED, SETTLED_RUN if run else 0, 0, 8 + len(column))
        + _COUNTED.pack(record.queue, count)
        + column
    )


def _decode_settled(data: bytes, start: int, end: int, flags: int, kind: int) -> Settled:
    queue, count = _COUNTED.unpack_from(data, start)
    if not count or flags & ~SETTLED_RUN or kind:
        raise BadRecord("a settlement that is empty or of a kind that is not known")
    if flags & SETTLED_RUN:
        firsts, at = read_u64s(data, start + 8, 1, end)
        if count > MAX_RUN:
            raise BadRecord("a run of settlements that is too long")
        ids = list(range(firsts[0], firsts[0] + count))
    else:
        ids, at = read_u64s(data, start + 8, count, end)
    _check_end(at, end)
    return Settled(queue, ids)


def _encode_returned(record: Returned, parts: Parts) -> None:
    body = (
        _COUNTED.pack(record.queue, len(record.ids))
        + u64s(record.ids)
        + u32s(record.attempts)
        + u64s(record.due_ns)
    )
    if len(body) != 8 + 20 * len(record.ids):
        raise ValueError("the columns of one record have one length")
    parts.append(RECORD_HEADER.pack(TYPE_RETURNED, 0, 0, len(body)) + body)


def _decode_returned(data: bytes, start: int, end: int, flags: int, kind: int) -> Returned:
    queue, count = _COUNTED.unpack_from(data, start)
    ids, at = read_u64s(data, start + 8, count, end)
    attempts, at = read_u32s(data, at, count, end)
    due_ns, at = read_u64s(data, at, count, end)
    _check_plain(at, end, flags, kind)
    return Returned(queue, ids, list(attempts), due_ns)


def _encode_delivered(record: Delivered, parts: Parts) -> None:
    body = _COUNTED.pack(record.queue, len(record.ids)) + u64s(record.ids) + u32s(record.attempts)
    if len(body) != 8 + 12 * len(record.ids):
        raise ValueError("the columns of one record have one length")
    parts.append(RECORD_HEADER.pack(TYPE_DELIVERED, 0, 0, len(body)) + body)


def _decode_delivered(data: bytes, start: int, end: int, flags: int, kind: int) -> Delivered:
    queue, count = _COUNTED.unpack_from(data, start)
    ids, at = read_u64s(data, start + 8, count, end)
    attempts, at = read_u32s(data, at, count, end)
    _check_plain(at, end, flags, kind)
    return Delivered(queue, ids, list(attempts))


def _encode_moved(record: Moved, parts: Parts) -> None:
    body = _MOVED.pack(record.queue, record.target, record.id) + _encode_msgpack(record.traits)
    parts.append(RECORD_HEADER.pack(TYPE_MOVED, 0, 0, len(body)) + body)


def _decode_moved(data: bytes, start: int, end: int, flags: int, kind: int) -> Moved:
    queue, target, message_id = _MOVED.unpack_from(data, start)
    _check_plain(end, end, flags, kind)
    return Moved(queue, target, message_id, decode_traits(data[start + _MOVED.size : end]))


def _encode_declared(record: Declared, parts: Parts) -> None:
    name = record.name.encode()
    body = _DECLARED.pack(record.queue, len(name)) + name + encode_policy(record.policy)
    parts.append(RECORD_HEADER.pack(TYPE_DECLARED, 0, 0, len(body)) + body)


def _decode_declared(data: bytes, start: int, end: int, flags: int, kind: int) -> Declared:
    queue, size = _DECLARED.unpack_from(data, start)
    at = start + _DECLARED.size
    _check_plain(end, end, flags, kind)
    if at + size > end:
        raise BadRecord("a name is cut short")
    name = data[at : at + size].decode()
    return Declared(queue, name, decode_policy(data[at + size : end]))


def _encode_opened(record: Opened, parts: Parts) -> None:
    parts.append(
        RECORD_HEADER.pack(TYPE_OPENED, 0, 0, 16) + _TWO_U64.pack(record.epoch, record.at_ns)
    )


def _decode_opened(data: bytes, start: int, end: int, flags: int, kind: int) -> Opened:
    _check_plain(start + 16, end, flags, kind)
    return Opened(*_TWO_U64.unpack_from(data, start))


def _encode_closed(record: Closed, parts: Parts) -> None:
    parts.append(RECORD_HEADER.pack(TYPE_CLOSED, 0, 0, 8) + _U64.pack(record.at_ns))


def _decode_closed(data: bytes, start: int, end: int, flags: int, kind: int) -> Closed:
    _check_plain(start + 8, end, flags, kind)
    return Closed(*_U64.unpack_from(data, start))


def _encode_copied(record: Copied, parts: Parts) -> None:
    traits = record.entry[4]
    packed = b"" if traits is None else _encode_msgpack(traits)
    body = (
        COPIED_FIELDS.pack(
            record.queue, 0, record.producer, record.sequence, record.entry[0], record.of
        )
        + packed
    )
    parts.append(RECORD_HEADER.pack(TYPE_COPIED, 0, 0, len(body)) + body)


def _decode_copied(data: bytes, start: int, end: int, flags: int, kind: int) -> Copied:
    """A copy whose entry has no body yet: `complete` gives it the original's."""
    queue, zero, producer, sequence, message_id, of = COPIED_FIELDS.unpack_from(data, start)
    _check_plain(end, end, flags, kind | zero)
    packed = data[start + COPIED_FIELDS.size : end]
    traits = decode_traits(packed) if packed else None
    return Copied(queue, producer, sequence, (message_id, 0, b"", b"", traits), of)


def complete(copied: Copied, before: list[Record]) -> None:
    """Give a copy what its original has, a put of its frame. Raises BadRecord."""
    for record in reversed(before):
        if isinstance(record, Put):
            index = copied.of - record.entries[0][0]
            if 0 <= index < len(record.entries):
                _, kind, body, headers, _ = record.entries[index]
                copied.entry = (copied.entry[0], kind, body, headers, copied.entry[4])
                return
    raise BadRecord("a copy of a message that is not in its frame")


def _encode_bound(record: Bound, parts: Parts) -> None:
    topic, pattern = record.topic.encode(), record.pattern.encode()
    body = _BOUND.pack(record.queue, record.bound, len(topic), len(pattern)) + topic + pattern
    parts.append(RECORD_HEADER.pack(TYPE_BOUND, 0, 0, len(body)) + body)


def _decode_bound(data: bytes, start: int, end: int, flags: int, kind: int) -> Bound:
    queue, bound, topic_size, pattern_size = _BOUND.unpack_from(data, start)
    at = start + _BOUND.size
    _check_plain(at + topic_size + pattern_size, end, flags, kind)
    if bound > 1:
        raise BadRecord("a binding that is neither made nor ended")
    topic = data[at : at + topic_size].decode()
    return Bound(topic, queue, data[at + topic_size : end].decode(), bound == 1)


def _encode_remembered(record: Remembered, parts: Parts) -> None:
    dedups = [dedup.encode() for dedup in record.dedups]
    body = (
        _COUNTED.pack(record.queue, len(dedups))
        + u64s(record.ids)
        + u32s(map(len, dedups))
        + b"".join(dedups)
    )
    if len(record.ids) != len(dedups):
        raise ValueError("the columns of one record have one length")
    parts.append(RECORD_HEADER.pack(TYPE_REMEMBERED, 0, 0, len(body)) + body)


def _decode_remembered(data: bytes, start: int, end: int, flags: int, kind: int) -> Remembered:
    queue, count = _COUNTED.unpack_from(data, start)
    ids, at = read_u64s(data, start + 8, count, end)
    sizes, at = read_u32s(data, at, count, end)
    blobs, at = read_blobs(data, at, sizes, end)
    _check_plain(at, end, flags, kind)
    return Remembered(queue, [blob.decode() for blob in blobs], ids)


def _encode_accepted(record: Accepted, parts: Parts) -> None:
    count = len(record.ids)
    body = (
        _ACCEPTED.pack(record.producer, count)
        + u64s(record.sequences)
        + u32s(record.counts)
        + u64s(record.ids)
    )
    if len(body) != _ACCEPTED.size + 20 * count:
        raise ValueError("the columns of one record have one length")
    parts.append(RECORD_HEADER.pack(TYPE_ACCEPTED, 0, 0, len(body)) + body)


def _decode_accepted(data: bytes, start: int, end: int, flags: int, kind: int) -> Accepted:
    producer, count = _ACCEPTED.unpack_from(data, start)
    sequences, at = read_u64s(data, start + _ACCEPTED.size, count, end)
    counts, at = read_u32s(data, at, count, end)
    ids, at = read_u64s(data, at, count, end)
    _check_plain(at, end, flags, kind)
    return Accepted(producer, sequences, list(counts), ids)


def _check_end(at: int, end: int) -> None:
    if at != end:
        raise BadRecord("a record whose length is not that of its fields")


def _check_plain(at: int, end: int, flags: int, kind: int) -> None:
    if at != end or flags or kind:
        raise BadRecord("a record of a kind that is not known")


_ENCODERS: Final[dict[type, Callable[[Any, Parts], None]]] = {
    Opened: _encode_opened,
    Closed: _encode_closed,
    Declared: _encode_declared,
    Put: _encode_put,
    Settled: _encode_settled,
    Returned: _encode_returned,
    Moved: _encode_moved,
    Delivered: _encode_delivered,
    Copied: _encode_copied,
    Bound: _encode_bound,
    Remembered: _encode_remembered,
    Accepted: _encode_accepted,
}
DECODERS: Final[dict[int, Callable[[bytes, int, int, int, int], Record]]] = {
    TYPE_OPENED: _decode_opened,
    TYPE_CLOSED: _decode_closed,
    TYPE_DECLARED: _decode_declared,
    TYPE_PUT: _decode_put,
    TYPE_SETTLED: _decode_settled,
    TYPE_RETURNED: _decode_returned,
    TYPE_MOVED: _decode_moved,
    TYPE_DELIVERED: _decode_delivered,
    TYPE_COPIED: _decode_copied,
    TYPE_BOUND: _decode_bound,
    TYPE_REMEMBERED: _decode_remembered,
    TYPE_ACCEPTED: _decode_accepted,
}


def encode_payload(records: list[Record], offsets: list[int] | None = None) -> bytes:
    """A frame's payload: the records one after the other, zeros to a multiple of 8 bytes.

    ``offsets`` is given where each record begins.

    Raises:
        ValueError: a record holds what the log cannot (columns of unequal length, say).
    """
    parts: Parts = []
    if offsets is None:
        for record in records:
            _ENCODERS[type(record)](record, parts)
    else:
        at = 0
        for record in records:
            offsets.append(at)
            begin = len(parts)
            _ENCODERS[type(record)](record, parts)
            at += RECORD_HEADER_BYTES + RECORD_HEADER.unpack_from(parts[begin])[3]
    payload = b"".join(parts)
    return payload + padding(len(payload)) if len(payload) % FRAME_ALIGN else payload


def decode_payload(data: bytes, start: int, end: int, count: int) -> list[Record]:
    """The ``count`` records of the payload ``data[start:end]``.

    Raises:
        BadRecord: it is not that.
    """
    records: list[Record] = []
    at = start
    try:
        for _ in range(count):
            if at + RECORD_HEADER_BYTES > end:
                raise BadRecord("there are fewer records than the frame says")
            kind_of_record, flags, kind, length = RECORD_HEADER.unpack_from(data, at)
            at += RECORD_HEADER_BYTES
            stop = at + length
            decode = DECODERS.get(kind_of_record)
            if decode is None:
                raise BadRecord(f"record type {kind_of_record} is not known")
            if stop > end:
                raise BadRecord("a record is cut short")
            record = decode(data, at, stop, flags, kind)
            if isinstance(record, Copied):
                complete(record, records)
            records.append(record)
            at = stop
    except (struct.error, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise BadRecord(f"a record does not decode: {error}") from error
    if end - at >= FRAME_ALIGN or data[at:end].strip(b"\0"):
        raise BadRecord("there is more in the frame than its records")
    return records


def size_bound(record: Record) -> int:
    """The most bytes that the record takes in a frame of its own, settlements' room included."""
    if isinstance(record, Put):
        return entries_bound(record.entries)
    if isinstance(record, Settled):
        return SETTLE_BYTES + 8 * len(record.ids)
    parts: Parts = []
    _ENCODERS[type(record)](record, parts)
    settling = SETTLE_RESERVE_BYTES if isinstance(record, Copied) else 0
    return FRAME_HEADER_BYTES + FRAME_ALIGN + settling + sum(map(len, parts))


def entries_bound(entries: list[Entry]) -> int:
    """`size_bound` of a put of these entries: what the engine is asked to check, summed."""
    bodies: tuple[bytes, ...]
    headers: tuple[bytes, ...]
    traits: tuple[Traits | None, ...]
    _, _, bodies, headers, traits = zip(*entries, strict=True)
    size = PUT_OVERHEAD_BYTES * len(entries) + sum(map(len, bodies))
    if any(headers):
        size += sum(map(len, headers))
    if traits.count(None) != len(traits):
        size += sum(traits_bound(trait) for trait in traits if trait is not None)
    return size


def traits_bound(traits: Traits) -> int:
    """What a message's traits may take beyond the part of `PUT_OVERHEAD_BYTES` that is theirs."""
    size = TRAITS_EXTRA_BYTES + len(traits.death)
    # Four bytes a character at the most, and no more than the limits of `model`.
    if traits.key:
        size += min(4 * len(traits.key), MAX_KEY_BYTES)
    if traits.dedup:
        size += min(4 * len(traits.dedup), MAX_DEDUP_BYTES)
    return size
