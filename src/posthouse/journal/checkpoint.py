"""A sealed segment's checkpoint: its digest, in a file beside it.

It says nothing that the segment does not say, and is believed only if it fits the segment: to
lose one, or all, costs the time to read the segments. The layout is in `docs/log-format.md`.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

import msgspec

from posthouse.journal.codec import decode_payload, encode_payload
from posthouse.journal.columns import (
    BadRecord,
    packed,
    read_u32s,
    read_u64s,
    u32s,
    u64_column,
    u64s,
    unpacked,
)
from posthouse.journal.digest import Columns, Digest, Ranges, Told
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import (
    CHECKPOINT_MAGIC,
    CHECKPOINT_VERSION,
    TEMPORARY,
    SegmentHeader,
    checkpoint_name,
    seed_of,
)
from posthouse.records import Record

_HEADER: Final = struct.Struct("<8sIIQ")
_MOST_BYTES: Final = 1 << 32


_PUTS: Final = "QIIIQ"
_TOLD: Final = "IQQQBB"
_PRODUCERS: Final = "QQIQ"


class _Rows(msgspec.Struct, array_like=True, frozen=True):
    count: int
    columns: list[bytes]


class _Table(msgspec.Struct, array_like=True, frozen=True):
    queue: int
    special: bool
    puts: _Rows
    told: _Rows


class _Settled(msgspec.Struct, array_like=True, frozen=True):
    queue: int
    firsts: bytes
    lasts: bytes


class _Records(msgspec.Struct, array_like=True, frozen=True):
    count: int
    payload: bytes
    sequences: bytes = b""
    indexes: bytes = b""


class _Body(msgspec.Struct, array_like=True, frozen=True):
    segment: int
    salt: int
    end: int
    first_sequence: int
    next_sequence: int
    oldest: int
    frames: int
    records: int
    puts: int
    first_id: int
    last_id: int
    columns: list[_Table]
    carried: list[_Table]
    ranks: bytes
    voided: list[tuple[int, int, int, int]]
    producers: _Rows
    catalog: _Records
    others: _Records
    settled: list[_Settled]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Body).decode


def encode_checkpoint(digest: Digest, header: SegmentHeader, end: int) -> bytes:
    """The file for the digest of the segment with this header, which ends at ``end``."""
    body = _encode(
        _Body(
            digest.segment,
            header.salt,
            end,
            header.first_sequence,
            digest.next_sequence,
            digest.oldest,
            digest.frames,
            digest.records,
            digest.puts,
            digest.first_id,
            digest.last_id,
            _tables(digest.columns),
            _tables(digest.carried),
            u64s(digest.ranks),
            digest.voided,
            _producers(digest.producers),
            _Records(len(digest.catalog), encode_payload(digest.catalog)),
            _Records(
                len(digest.others),
                encode_payload([record for _, _, record in digest.others]),
                u64s(sequence for sequence, _, _ in digest.others),
                u32s(index for _, index, _ in digest.others),
            ),
            [
                _Settled(queue, u64s(ranges.firsts), u64s(ranges.lasts))
                for queue, ranges in digest.settled.items()
            ],
        )
    )
    checksum = zlib.crc32(body, seed_of(header.salt))
    return _HEADER.pack(CHECKPOINT_MAGIC, CHECKPOINT_VERSION, checksum, len(body)) + body


def decode_checkpoint(data: bytes, header: SegmentHeader, end: int) -> Digest | None:
    """The digest in a checkpoint's bytes; None if they are not a sound one of this segment."""
    if len(data) < _HEADER.size:
        return None
    magic, version, checksum, length = _HEADER.unpack_from(data)
    if magic != CHECKPOINT_MAGIC or version != CHECKPOINT_VERSION:
        return None
    raw = memoryview(data)[_HEADER.size :]
    if len(raw) != length or zlib.crc32(raw, seed_of(header.salt)) != checksum:
        return None
    try:
        body = _decode(raw)
        if (body.segment, body.salt, body.end, body.first_sequence) != (
            header.number,
            header.salt,
            end,
            header.first_sequence,
        ):
            return None
        return _digest(body)
    except (msgspec.MsgspecError, BadRecord, ValueError, OverflowError):
        return None


def _rows(columns: Sequence[array[int]]) -> _Rows:
    count = len(columns[0])
    return _Rows(count, [packed(each) for each in columns] if count else [])


def _tables(kinds: dict[tuple[int, bool], Columns]) -> list[_Table]:
    return [
        _Table(queue, special, _rows(each.arrays()), _rows((each.told or Told()).arrays()))
        for (queue, special), each in kinds.items()
    ]


def _producers(rows: list[tuple[int, int, int, int]]) -> _Rows:
    codes = enumerate(_PRODUCERS)
    return _rows([array(code, map(itemgetter(at), rows)) for at, code in codes])


def _digest(body: _Body) -> Digest:
    others = _records(body.others)
    sequences, _ = read_u64s(body.others.sequences, 0, len(others), len(body.others.sequences))
    indexes, _ = read_u32s(body.others.indexes, 0, len(others), len(body.others.indexes))
    return Digest(
        segment=body.segment,
        next_sequence=body.next_sequence,
        oldest=body.oldest,
        frames=body.frames,
        records=body.records,
        columns=_columns(body.columns, body.end),
        carried=_columns(body.carried, body.end),
        ranks=u64_column(body.ranks),
        puts=body.puts,
        first_id=body.first_id,
        last_id=body.last_id,
        voided=body.voided,
        producers=list(zip(*_read_rows(body.producers, _PRODUCERS, body.end), strict=True)),
        catalog=_records(body.catalog),
        others=list(zip(sequences, indexes, others, strict=True)),
        settled={
            each.queue: Ranges(u64_column(each.firsts), u64_column(each.lasts))
            for each in body.settled
        },
    )


def _records(packed: _Records) -> list[Record]:
    return decode_payload(packed.payload, 0, len(packed.payload), packed.count)


def _read_rows(rows: _Rows, typecodes: str, most: int) -> list[array[int]]:
    """The columns; there are no more rows than ``most``."""
    if not rows.count and not rows.columns:
        return [array(code) for code in typecodes]
    if not 0 < rows.count <= most or len(rows.columns) != len(typecodes):
        raise BadRecord("there are other columns than there should be")
    return [
        unpacked(data, code, rows.count) for data, code in zip(rows.columns, typecodes, strict=True)
    ]


def _columns(tables: list[_Table], most: int) -> dict[tuple[int, bool], Columns]:
    """Tables of a segment of so many bytes, which is more than it can have of anything."""
    found: dict[tuple[int, bool], Columns] = {}
    for table in tables:
        firsts, counts, frames, records, sizes = _read_rows(table.puts, _PUTS, most)
        columns = Columns(firsts, counts, frames, records, sizes)
        messages = sum(columns.counts) if table.special else 0
        if not table.puts.count or table.told.count != messages:
            raise BadRecord("columns of unequal length")
        if table.special:
            columns.told = Told(*_read_rows(table.told, _TOLD, most))
        found[table.queue, table.special] = columns
    return found


def read_checkpoint(files: Files, directory: str, header: SegmentHeader, end: int) -> Digest | None:
    """The digest of the segment with this header, which ends at ``end``; None: read it.

    Raises:
        OSError: the disk failed.
    """
    path = path_in(directory, checkpoint_name(header.number))
    try:
        fd = files.open(path)
    except FileNotFoundError:
        return None
    try:
        size = files.size(fd)
        data = files.pread(fd, size, 0) if size < _MOST_BYTES else b""
    finally:
        files.close(fd)
    return decode_checkpoint(data, header, end)


def write_checkpoint(
    files: Files, directory: str, digest: Digest, header: SegmentHeader, end: int
) -> None:
    """Write a checkpoint; it has its name only when it is on disk.

    Raises:
        OSError: it could not be done; what was begun is removed, if that can be done.
    """
    path = path_in(directory, checkpoint_name(header.number))
    fd = files.open(path + TEMPORARY, create=True)
    try:
        files.truncate(fd, 0)
        files.pwrite(fd, encode_checkpoint(digest, header, end), 0)
        files.fsync(fd)
    except OSError:
        files.close(fd)
        files.unlink(path + TEMPORARY)
        raise
    files.close(fd)
    files.rename(path + TEMPORARY, path)
