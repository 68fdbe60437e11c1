"""Records as recovery reads them: of a put what it says of its messages, without them.

So an opening takes as long as the bytes need to be read and summed up, and no memory for bodies.
Every other record is what `codec` makes of it. And one put of a frame, looked up by its place.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from posthouse.journal.codec import (
    COPIED_FIELDS,
    DECODERS,
    PUT_CARRIED,
    PUT_FIELDS,
    PUT_HEADERS,
    PUT_KINDS,
    PUT_TRAITS,
    TYPE_COPIED,
    TYPE_PUT,
    complete,
    decode_traits,
)
from posthouse.journal.columns import BadRecord, read_blobs, read_u32s
from posthouse.journal.format import FRAME_ALIGN, RECORD_HEADER, RECORD_HEADER_BYTES
from posthouse.records import Copied, Put, Record, Stored, Traits

BriefRecord: TypeAlias = "Record | Stored"
_ALL_FLAGS = PUT_KINDS | PUT_HEADERS | PUT_TRAITS | PUT_CARRIED
_LONE_PUT = struct.Struct("<" + "BBHI" + "IIQQQ" + "I")
"""`RECORD_HEADER`, `PUT_FIELDS` and one size."""
_Sizes: TypeAlias = "list[tuple[int, Sequence[int], Sequence[int]]]"


def decode_brief(data: bytes, start: int, end: int, count: int) -> list[BriefRecord]:
    """The ``count`` records of the payload ``data[start:end]``, puts as `Stored`.

    Raises:
        BadRecord: it is not that.
    """
    records: list[BriefRecord] = []
    sizes: _Sizes = []
    at = start
    try:
        for _ in range(count):
            if at + RECORD_HEADER_BYTES > end:
                raise BadRecord("there are fewer records than the frame says")
            record_type, flags, kind, length = RECORD_HEADER.unpack_from(data, at)
            offset, at = at - start, at + RECORD_HEADER_BYTES
            stop = at + length
            if stop > end:
                raise BadRecord("a record is cut short")
            if record_type == TYPE_PUT:
                records.append(_put(data, at, stop, flags, kind, offset, sizes))
            elif record_type == TYPE_COPIED:
                records.append(_copied(data, at, stop, flags, kind, offset, sizes))
            else:
                decode = DECODERS.get(record_type)
                if decode is None:
                    raise BadRecord(f"record type {record_type} is not known")
                records.append(decode(data, at, stop, flags, kind))
            at = stop
    except (struct.error, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise BadRecord(f"a record does not decode: {error}") from error
    if end - at >= FRAME_ALIGN or data[at:end].strip(b"\0"):
        raise BadRecord("there is more in the frame than its records")
    return records


def lone_put(data: bytes, start: int, end: int) -> tuple[int, int, int, int, int] | None:
    """(queue, producer, sequence, id, bytes of the body) of a payload that is the put of one plain
    message and nothing else; None: see what `decode_brief` makes of it.
    """
    if end - start < _LONE_PUT.size:
        return None
    record_type, flags, kind, length, queue, count, producer, sequence, first, size_bytes = (
        _LONE_PUT.unpack_from(data, start)
    )
    if record_type != TYPE_PUT or flags or kind > 255 or count != 1:
        return None
    stop = start + _LONE_PUT.size + size_bytes
    left = end - stop
    if length != _LONE_PUT.size - RECORD_HEADER_BYTES + size_bytes or not 0 <= left < FRAME_ALIGN:
        return None
    if left and data[stop:end].strip(b"\0"):
        return None
    return queue, producer, sequence, first, size_bytes


def _put(
    data: bytes, start: int, end: int, flags: int, kind: int, offset: int, seen: _Sizes
) -> Stored:
    queue, count, producer, sequence, first = PUT_FIELDS.unpack_from(data, start)
    if not count or flags & ~_ALL_FLAGS or kind > 255:
        raise BadRecord("a put that is empty or of a kind that is not known")
    sizes, at = read_u32s(data, start + PUT_FIELDS.size, count, end)
    headers: Sequence[int] = ()
    packed_sizes: Sequence[int] = ()
    if flags & PUT_KINDS:
        at += count
    if flags & PUT_HEADERS:
        headers, at = read_u32s(data, at, count, end)
    if flags & PUT_TRAITS:
        packed_sizes, at = read_u32s(data, at, count, end)
    size_bytes = sum(sizes) + sum(headers)
    at += size_bytes
    traits: list[Traits | None] | None = None
    if flags & PUT_TRAITS:
        packed, at = read_blobs(data, at, packed_sizes, end)
        # Those of a batch are mostly all the same.
        known = {piece: decode_traits(piece) if piece else None for piece in set(packed)}
        traits = [known[piece] for piece in packed]
    if at != end:
        raise BadRecord("a record whose length is not that of its fields")
    seen.append((first, sizes, headers))
    carried = bool(flags & PUT_CARRIED)
    each: Sequence[int] = ()
    if traits is not None:
        each = [a + b for a, b in zip(sizes, headers, strict=True)] if headers else sizes
    return Stored(
        queue, producer, sequence, first, count, size_bytes, traits, offset, carried, each
    )


def _copied(
    data: bytes, start: int, end: int, flags: int, kind: int, offset: int, seen: _Sizes
) -> Stored:
    queue, zero, producer, sequence, message_id, of = COPIED_FIELDS.unpack_from(data, start)
    if flags or kind or zero:
        raise BadRecord("a record of a kind that is not known")
    packed = data[start + COPIED_FIELDS.size : end]
    traits: list[Traits | None] | None = [decode_traits(packed)] if packed else None
    for first, sizes, headers in reversed(seen):
        index = of - first
        if 0 <= index < len(sizes):
            size_bytes = sizes[index] + (headers[index] if headers else 0)
            each = [size_bytes] if traits else ()
            return Stored(
                queue, producer, sequence, message_id, 1, size_bytes, traits, offset, sizes=each
            )
    raise BadRecord("a copy of a message that is not in its frame")


def decode_put_at(payload: bytes, offset: int) -> Put:
    """The put at an offset of a frame's sound payload; of a copy, one of its message.

    Raises:
        BadRecord: there is none.
    """
    try:
        record_type, flags, kind, length = RECORD_HEADER.unpack_from(payload, offset)
        start = offset + RECORD_HEADER_BYTES
        end = start + length
        if end > len(payload):
            raise BadRecord("a record is cut short")
        if record_type == TYPE_PUT:
            put = DECODERS[TYPE_PUT](payload, start, end, flags, kind)
            assert isinstance(put, Put)
            return put
        if record_type != TYPE_COPIED:
            raise BadRecord("there is no message at this place")
        copied = DECODERS[TYPE_COPIED](payload, start, end, flags, kind)
        assert isinstance(copied, Copied)
        complete(copied, _puts_before(payload, offset))
    except (struct.error, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise BadRecord(f"a record does not decode: {error}") from error
    return Put(copied.queue, copied.producer, copied.sequence, [copied.entry])


def _puts_before(payload: bytes, offset: int) -> list[Record]:
    puts: list[Record] = []
    at = 0
    while at < offset:
        record_type, flags, kind, length = RECORD_HEADER.unpack_from(payload, at)
        start = at + RECORD_HEADER_BYTES
        if record_type == TYPE_PUT:
            puts.append(DECODERS[TYPE_PUT](payload, start, start + length, flags, kind))
        at = start + length
    return puts
