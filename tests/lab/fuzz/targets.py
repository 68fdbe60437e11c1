"""What is fuzzed, each with its invariant: AssertionError where it does not hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from posthouse.journal import codec
from posthouse.journal.codec import decode_payload, encode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.format import (
    FORMAT_TEXT,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    seed_of,
)
from posthouse.journal.frames import Frame, Scan, scan_frames
from posthouse.journal.ring import RingReplay
from tests.lab.fuzz import wire
from tests.lab.fuzz.corpus import draw_payload, draw_ring, draw_segment
from tests.lab.fuzz.mutate import mutate
from tests.lab.fuzz.recovery import recovery

Target = Callable[[Random], Iterator[None]]
"""Tries one input at each step, for ever."""

PER_SOUND: Final = 200
"""Mutations of one sound input before the next is drawn."""
MOST_IDS: Final = 1 << 16


@contextmanager
def cheap_limits() -> Iterator[None]:
    """The longest run of settlements made short, so that reaching it costs no gigabyte."""
    before = codec.MAX_RUN
    codec.MAX_RUN = MOST_IDS  # type: ignore[misc]
    try:
        yield
    finally:
        codec.MAX_RUN = before  # type: ignore[misc]


def payload(random: Random) -> Iterator[None]:
    """A payload decodes, or raises BadRecord; what decodes is the same when written again.

    Nothing is made that is larger than the input, but for a run of settlements, which has a
    limit of its own.
    """
    while True:
        sound, count = draw_payload(random)
        for _ in range(PER_SOUND):
            data = mutate(sound, random)
            check_payload(data, 0, len(data), count)
            yield


def check_payload(data: bytes, start: int, end: int, count: int) -> None:
    """One input of `payload`."""
    try:
        records = decode_payload(data, start, end, count)
    except BadRecord:
        return
    assert len(records) == count
    again = encode_payload(records)
    assert len(again) <= max(end - start, 8) + 8 * MOST_IDS
    # NaN in a policy is refused, so equality can be asked for.
    assert decode_payload(again, 0, len(again), count) == records, data.hex()


def segment(random: Random) -> Iterator[None]:
    """Damage never makes a frame: what is found are frames that were written, in their order.

    However much of the file is read: a longer look finds the same frames and more. Nothing is
    raised at all.
    """
    while True:
        sound = draw_segment(random)
        header = SegmentHeader.unpack(sound)
        assert header is not None
        whole = scan(sound, len(sound), header)
        written = {place(sound, frame) for frame in whole.frames}
        for _ in range(PER_SOUND):
            data = mutate(sound[SEGMENT_HEADER_BYTES:], random)
            data = sound[:SEGMENT_HEADER_BYTES] + data
            check_segment(data, header, written, random.getrandbits(16) % (len(data) + 1))
            yield


def scan(data: bytes, limit: int, header: SegmentHeader) -> Scan:
    """The frames of a segment's first bytes."""
    return scan_frames(
        data,
        SEGMENT_HEADER_BYTES,
        limit,
        seed_of(header.salt),
        header.first_sequence,
        reused=header.reused,
    )


def place(data: bytes, frame: Frame) -> bytes:
    """A frame's bytes, by which it is known wherever it stands."""
    return data[frame.offset : frame.end]


def check_segment(data: bytes, header: SegmentHeader, written: set[bytes], limit: int) -> None:
    """One input of `segment`."""
    found = scan(data, len(data), header)
    assert {place(data, frame) for frame in found.frames} <= written, data.hex()
    sequences = [frame.header.sequence for frame in found.frames[1:]]
    first = header.first_sequence
    assert sequences == list(range(first, first + len(sequences))), data.hex()
    assert SEGMENT_HEADER_BYTES <= found.stop <= len(data)
    assert 0 <= found.torn_bytes <= len(data) - found.stop
    assert found.proof <= len(data)
    shorter = scan(data, limit, header)
    assert shorter.frames == found.frames[: len(shorter.frames)], (limit, data.hex())


def headers(random: Random) -> Iterator[None]:
    """A segment's header is read as it was written, or not at all; and so is FORMAT."""
    while True:
        sound = draw_segment(random)[:SEGMENT_HEADER_BYTES]
        header = SegmentHeader.unpack(sound)
        assert header is not None
        for _ in range(PER_SOUND):
            data = mutate(sound, random)
            found = SegmentHeader.unpack(data)
            assert found is None or data[:SEGMENT_HEADER_BYTES] == sound, data.hex()
            match = FORMAT_TEXT.fullmatch(data)
            assert match is None or int(match[1]) >= 0
            yield


def ring(random: Random) -> Iterator[None]:
    """A damaged slot of the attempts ring is passed over; the others stay what they were."""
    while True:
        sound = draw_ring(random)
        said = attempts_in(sound)
        for _ in range(PER_SOUND):
            assert attempts_in(mutate(sound, random)) <= said
            yield


def attempts_in(data: bytes) -> set[tuple[int, int, int, int]]:
    """(epoch, queue, rank, attempt) that any slot of the ring says."""
    found: set[tuple[int, int, int, int]] = set()
    for offset in range(0, len(data) - len(data) % 32, 32):
        for epoch in (1, 2):
            for record in RingReplay(data[offset : offset + 32]).deliveries(epoch):
                for rank, attempt in zip(record.ids, record.attempts, strict=True):
                    found.add((epoch, record.queue, rank, attempt))
    RingReplay(data).deliveries(1)
    return found


TARGETS: Final[dict[str, Target]] = {
    "payload": payload,
    "segment": segment,
    "headers": headers,
    "ring": ring,
    "recovery": recovery,
    "requests": wire.requests,
    "answers": wire.answers,
}
