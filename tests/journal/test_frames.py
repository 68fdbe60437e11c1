"""Reading frames in a row, and what is found where they stop."""

from __future__ import annotations

import pytest

from posthouse.errors import LogDamaged
from posthouse.journal.format import FLAG_CATALOG, FLAG_CLOSED, FRAME_HEADER_BYTES, seed_of
from posthouse.journal.frames import Scan, build_frame, scan_frames
from posthouse.journal.options import SealedFrame
from tests.journal.logs import DIRECTORY, Bench, open_records
from tests.journal.memory import MemoryFiles

SEED = seed_of(1)
CATALOG = (1, FLAG_CATALOG)


def build(*frames: tuple[int, int], seed: int = SEED, start: int = 0) -> bytes:
    """Frames of 16 bytes each: (sequence, flags)."""
    data = bytes(start)
    for sequence, flags in frames:
        sealed = SealedFrame(b"sixteen bytes ok", 0, sequence, flags, 1)
        data += build_frame(sealed, seed, len(data)) + sealed.payload
    return data


def scan(data: bytes, *, reused: bool = False) -> Scan:
    return scan_frames(data, 0, len(data), SEED, 1, reused=reused)


SIZE = FRAME_HEADER_BYTES + 16


def test_a_row() -> None:
    found = scan(build(CATALOG, (1, 0), (2, FLAG_CLOSED)) + bytes(500))
    assert [frame.header.sequence for frame in found.frames] == [1, 1, 2]
    assert (found.stop, found.torn_bytes, found.gap, found.proof) == (3 * SIZE, 0, False, 0)
    assert found.closed
    assert found.durable_upto == 2 * SIZE


@pytest.mark.parametrize(
    ("frames", "sound"),
    [
        ([CATALOG, (1, 0), (3, 0)], 2),
        ([CATALOG, (1, 0), (1, 0)], 2),
        ([CATALOG, (2, 0)], 1),
        ([CATALOG, (1, 0), (2, FLAG_CATALOG)], 2),
        ([(1, 0)], 0),
    ],
    ids=["skipped", "repeated", "first missing", "a second catalog", "no catalog"],
)
def test_a_sound_frame_that_does_not_belong_is_a_gap(
    frames: list[tuple[int, int]], sound: int
) -> None:
    found = scan(build(*frames))
    assert len(found.frames) == sound
    assert found.gap


async def test_a_gap_is_refused() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    places = []
    for _ in range(3):
        places.append(bench.log.disk.position)
        await bench.put()
        await bench.journal.flush()
    bench.crash()
    data = files.names[f"{DIRECTORY}/00000001.seg"].data
    del data[places[1] : places[2]]
    with pytest.raises(LogDamaged) as refused:
        open_records(files)
    assert refused.value.offset == places[1]


def test_proof_stands_behind_the_damage() -> None:
    data = bytearray(build(CATALOG, (1, 0), (2, 0), (3, 0)))
    data[SIZE + FRAME_HEADER_BYTES] ^= 1
    found = scan(bytes(data))
    assert found.stop == SIZE
    assert found.proof == 3 * SIZE


def test_frames_of_another_salt_prove_nothing() -> None:
    data = build(CATALOG, (1, 0)) + build((2, 0), (3, 0), seed=seed_of(2), start=2 * SIZE)[128:]
    found = scan(data, reused=True)
    assert (found.stop, found.proof) == (2 * SIZE, 0)


def test_a_copy_of_frames_in_a_body_proves_nothing() -> None:
    """A backup of the log, sent through the log, in a group that was torn."""
    before = build(CATALOG, (1, 0))
    sealed = SealedFrame(before, 0, 2, 0, 1)
    torn = bytearray(build_frame(sealed, SEED, len(before)) + before)
    torn[10] ^= 1
    found = scan(before + bytes(torn))
    assert (found.stop, found.proof) == (len(before), 0)
    assert found.torn_bytes > 0


def test_a_body_full_of_magics_is_read_quickly() -> None:
    torn = build(CATALOG) + b"\xf5PHF\0\0\0\0" * 200_000
    assert scan(torn).proof == 0


def test_how_much_was_torn() -> None:
    whole = build(CATALOG, (1, 0))
    for reused in (False, True):
        # The header is there: it says how long the frame would have been.
        data = whole[: SIZE + FRAME_HEADER_BYTES + 3] + bytes(100)
        assert scan(data, reused=reused).torn_bytes == SIZE
        assert scan(whole[:SIZE] + bytes(200), reused=reused).torn_bytes == 0
    # The header is not, in a file that held zeros: whatever is not zero.
    data = whole[:SIZE] + b"\xf5PH" + bytes(60) + b"x" + bytes(300)
    assert scan(data).torn_bytes == 64
    assert scan(data, reused=True).torn_bytes == 0
    # Or the sequence is still there.
    damaged = bytearray(whole)
    damaged[SIZE] ^= 1
    assert scan(bytes(damaged), reused=True).torn_bytes == FRAME_HEADER_BYTES
