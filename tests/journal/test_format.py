"""Headers, checksums, and the example in the docs, decoded and encoded again."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from posthouse.journal.codec import decode_payload, encode_payload
from posthouse.journal.format import (
    FLAG_CATALOG,
    FLAG_MARKER,
    FORMAT_TEXT,
    FORMAT_VERSION,
    FRAME_HEADER,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER,
    SEGMENT_HEADER_BYTES,
    SEGMENT_NAME,
    SegmentHeader,
    format_text,
    pack_frame_header,
    seed_of,
    segment_name,
    unpack_frame_header,
)
from posthouse.journal.frames import build_frame, scan_frames
from posthouse.journal.options import SealedFrame
from posthouse.model import KIND_TEXT, QueuePolicy
from posthouse.records import (
    Bound,
    Copied,
    Declared,
    Entry,
    Opened,
    Put,
    Record,
    Remembered,
    Settled,
    Traits,
)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "log-format.md"
u64 = st.integers(0, 2**64 - 1)


def test_sizes() -> None:
    assert SEGMENT_HEADER.size == SEGMENT_HEADER_BYTES
    assert FRAME_HEADER.size == FRAME_HEADER_BYTES
    assert SEGMENT_HEADER_BYTES % 8 == FRAME_HEADER_BYTES % 8 == 0


def test_names() -> None:
    assert segment_name(1) == "00000001.seg"
    assert segment_name(123456789) == "123456789.seg"
    assert SEGMENT_NAME.fullmatch(segment_name(123456789))
    match = FORMAT_TEXT.fullmatch(format_text())
    assert match is not None
    assert int(match[1]) == FORMAT_VERSION


@given(st.builds(SegmentHeader, u64, u64, u64, u64, u64, u64, u64, st.booleans()), st.data())
def test_a_segment_header_is_whole_or_none(header: SegmentHeader, data: st.DataObject) -> None:
    packed = header.pack()
    assert SegmentHeader.unpack(packed + b"more") == header
    assert SegmentHeader.unpack(packed[:-1]) is None
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    damaged = bytearray(packed)
    damaged[bit // 8] ^= 1 << bit % 8
    assert SegmentHeader.unpack(bytes(damaged)) is None


@given(u64, u64, u64, st.integers(0, 2**32 - 1), st.data())
def test_a_frame_header_is_whole_or_none(
    salt: int, sequence: int, offset: int, count: int, data: st.DataObject
) -> None:
    seed = seed_of(salt)
    packed = pack_frame_header(
        seed, b"12345678", count=count, flags=1, oldest=2, sequence=sequence, durable_upto=offset
    )
    header = unpack_frame_header(b"xyz" + packed, 3, seed)
    assert header is not None
    assert (header.length, header.count, header.sequence) == (8, count, sequence)
    assert (header.flags, header.oldest, header.durable_upto) == (1, 2, offset)
    assert unpack_frame_header(packed, 0, seed ^ 1) is None
    bit = data.draw(st.integers(0, 8 * len(packed) - 1))
    damaged = bytearray(packed)
    damaged[bit // 8] ^= 1 << bit % 8
    assert unpack_frame_header(bytes(damaged), 0, seed) is None


def test_all_zeros_are_no_header() -> None:
    assert SegmentHeader.unpack(bytes(200)) is None
    assert unpack_frame_header(bytes(200), 0, 0) is None


def example(number: int = 0) -> bytes:
    """The bytes of one of the two examples in the docs: a segment, a frame."""
    blocks = re.findall(r"```hex\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    data = b""
    for line in blocks[number].splitlines():
        offset, _, rest = line.partition("  ")
        assert int(offset, 16) == len(data)
        data += bytes.fromhex(rest.partition(";")[0])
    return data


FIRST_ID = 1_700_000_000_000_000_001
EXAMPLE_RECORDS: list[list[Record]] = [
    [],
    [Opened(1, 1_700_000_000_000_000_000)],
    [
        Declared(1, "tea", QueuePolicy()),
        Put(
            1,
            7,
            0,
            [
                (FIRST_ID, KIND_TEXT, b"hello", b"", None),
                (FIRST_ID + 1, KIND_TEXT, b"bye", b"", None),
            ],
        ),
    ],
    [Settled(1, [FIRST_ID])],
    [],
]


def test_the_example_in_the_docs_decodes() -> None:
    data = example()
    header = SegmentHeader.unpack(data)
    assert header == SegmentHeader(1, 0x0123456789ABCDEF, 1, 0, 0, 0, 0xC0, False)
    scan = scan_frames(data, SEGMENT_HEADER_BYTES, len(data), seed_of(header.salt), 1, reused=False)
    assert scan.stop == len(data)
    records = [
        decode_payload(data, frame.start, frame.end, frame.header.count) for frame in scan.frames
    ]
    assert records == EXAMPLE_RECORDS
    assert [frame.header.sequence for frame in scan.frames] == [1, 1, 2, 3, 4]
    assert scan.frames[0].header.flags == FLAG_CATALOG
    assert scan.frames[-1].header.flags == FLAG_MARKER


def test_the_example_in_the_docs_encodes() -> None:
    header = SegmentHeader(1, 0x0123456789ABCDEF, 1, 0, 0, 0, 0xC0, False)
    data = header.pack()
    flags = [FLAG_CATALOG, 0, 0, 0, FLAG_MARKER]
    # A policy that says nothing: what this version writes has all settings of its time.
    bare = [EXAMPLE_RECORDS[0], EXAMPLE_RECORDS[1], [Declared(1, "tea", {}), EXAMPLE_RECORDS[2][1]]]  # type: ignore[arg-type]
    for records, sequence, flag in zip(
        [*bare, *EXAMPLE_RECORDS[3:]], (1, 1, 2, 3, 4), flags, strict=True
    ):
        sealed = SealedFrame(encode_payload(records), len(records), sequence, flag, 1)
        data += build_frame(sealed, seed_of(header.salt), len(data)) + sealed.payload
    assert data.hex(" ") == example().hex(" ")


COPY: Entry = (FIRST_ID + 3, KIND_TEXT, b"cup", b"", Traits(key="k"))
FRAME_RECORDS: list[Record] = [
    Bound("shop", 2, "tea.*", True),
    Put(1, 7, 2, [(FIRST_ID + 2, KIND_TEXT, b"cup", b"", None)]),
    Copied(2, 7, 3, COPY, FIRST_ID + 2),
    Remembered(1, ["r-1"], [FIRST_ID]),
]


def test_the_frame_in_the_docs_decodes() -> None:
    data = example(1)
    header = unpack_frame_header(data, 0, seed_of(0x0123456789ABCDEF))
    assert header is not None
    assert (header.sequence, header.durable_upto, header.oldest, header.flags) == (9, 0x400, 1, 0)
    assert FRAME_HEADER_BYTES + header.length == len(data)
    assert decode_payload(data, FRAME_HEADER_BYTES, len(data), header.count) == FRAME_RECORDS


def test_the_frame_in_the_docs_encodes() -> None:
    # Traits without what came after them, as above.
    short = (*COPY[:4], [0, 0, b"", "k"])
    records = [*FRAME_RECORDS[:2], Copied(2, 7, 3, short, FIRST_ID + 2), FRAME_RECORDS[3]]  # type: ignore[arg-type]
    sealed = SealedFrame(encode_payload(records), 4, 9, 0, 1)
    data = build_frame(sealed, seed_of(0x0123456789ABCDEF), 0x400) + sealed.payload
    assert data.hex(" ") == example(1).hex(" ")
