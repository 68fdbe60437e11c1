"""Frames cut from what is read straight into a reader's space."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.errors import ProtocolError
from posthouse.wire.format import FRAME_BYTES
from posthouse.wire.frames import KEPT_BYTES, FrameReader

BODIES = st.lists(st.binary(min_size=1, max_size=3000), max_size=8)


def stream(bodies: list[bytes]) -> bytes:
    return b"".join(len(body).to_bytes(4) + body for body in bodies)


def read(reader: FrameReader, data: bytes, most: int) -> tuple[list[bytes], int]:
    """Fill the reader's space once, as a socket would: the frames, and how much it took."""
    with reader.space() as space:
        count = min(len(space), len(data), most)
        assert count or not data
        space[:count] = data[:count]
    sole = reader.sole(count)
    if sole is not None:
        return [bytes(sole)], count
    return [bytes(frame) for frame in reader.filled(count)], count


@given(st.lists(BODIES, min_size=1, max_size=3), st.data())
def test_readers_that_share_a_scratch_do_not_mix(
    streams: list[list[bytes]], data: st.DataObject
) -> None:
    scratch = bytearray(data.draw(st.integers(1, 5000)))
    readers = [FrameReader(3000, scratch) for _ in streams]
    rests = [stream(bodies) for bodies in streams]
    found: list[list[bytes]] = [[] for _ in streams]
    while any(rests):
        who = data.draw(st.sampled_from([n for n, rest in enumerate(rests) if rest]))
        frames, count = read(readers[who], rests[who], data.draw(st.integers(1, 4000)))
        found[who] += frames
        rests[who] = rests[who][count:]
    assert found == streams
    assert [reader.pending_bytes for reader in readers] == [0] * len(readers)


def test_a_length_alone_takes_no_memory() -> None:
    readers = [FrameReader(FRAME_BYTES, bytearray(4096)) for _ in range(100)]
    head = FRAME_BYTES.to_bytes(4)
    tracemalloc.start()
    for reader in readers:
        assert read(reader, head, 4) == ([], 4)
    assert tracemalloc.get_traced_memory()[0] < 100 * 2000
    tracemalloc.stop()


def test_a_buffer_is_at_most_twice_what_came_and_goes_with_a_large_frame() -> None:
    reader = FrameReader(FRAME_BYTES, bytearray(4096))
    data = stream([b"x" * 5_000_000])
    came = 0
    while came < len(data):
        with reader.space() as space:
            room = len(space)
        assert room <= max(came, 4096)
        frames, count = read(reader, data[came:], 10_000)
        came += count
    assert [len(frame) for frame in frames] == [5_000_000]
    assert read(reader, stream([b"y"]) + b"\0", 6) == ([b"y"], 6)
    with reader.space() as space:
        assert len(space) < 4096


def test_a_stream_that_flows_is_read_in_large_pieces() -> None:
    reader = FrameReader(FRAME_BYTES, bytearray(KEPT_BYTES))
    data = stream([b"z" * 1000]) * 5000
    reads = 0
    while data:
        _, count = read(reader, data, len(data))
        data = data[count:]
        reads += 1
    assert reads < 5_020_000 / KEPT_BYTES * 3


def test_a_length_over_the_limit_is_refused_at_once() -> None:
    for size in (0, 11):
        with pytest.raises(ProtocolError, match="from 1 to 10 are allowed"):
            read(FrameReader(10, bytearray(100)), size.to_bytes(4), 4)


def test_one_frame_and_no_more_is_found_at_once() -> None:
    reader = FrameReader(10, bytearray(100))
    for data, found in (
        (stream([b"abc"]), b"abc"),
        (stream([b"x" * 10]), b"x" * 10),
        (stream([b"x" * 11]), None),
        (stream([b"a", b"b"]), None),
        (stream([b"abc"])[:-1], None),
        (bytes(4), None),
    ):
        with reader.space() as space:
            space[: len(data)] = data
        sole = reader.sole(len(data))
        assert (None if sole is None else bytes(sole)) == found
    read(reader, stream([b"abc"])[:2], 2)
    with reader.space() as space:
        space[:5] = stream([b"abc"])[2:]
    assert reader.sole(5) is None
    assert [bytes(frame) for frame in reader.filled(5)] == [b"abc"]
