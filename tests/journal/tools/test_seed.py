"""Finding a segment's checksum seed in its frames."""

from __future__ import annotations

import zlib
from random import Random

from posthouse.journal.codec import encode_payload
from posthouse.journal.format import SEGMENT_HEADER_BYTES, seed_of
from posthouse.journal.frames import build_frame
from posthouse.journal.options import SealedFrame
from posthouse.journal.tools.seed import find_seed, start_of
from posthouse.records import Closed


def frames(salt: int, first: int, count: int) -> bytes:
    data = bytearray(SEGMENT_HEADER_BYTES)
    for sequence in range(first, first + count):
        payload = encode_payload([Closed(sequence)])
        sealed = SealedFrame(payload, 1, sequence, 0, 1)
        data += build_frame(sealed, seed_of(salt), len(data)) + payload
    return bytes(data)


def test_a_checksum_run_backwards() -> None:
    random = Random(1)
    for _ in range(500):
        data, seed = random.randbytes(random.randrange(64)), random.getrandbits(32)
        assert start_of(data, zlib.crc32(data, seed)) == seed


def test_the_seed_is_found_behind_a_damaged_frame() -> None:
    data = bytearray(frames(77, 5, 3))
    assert find_seed(bytes(data), 5, None) == seed_of(77)
    data[SEGMENT_HEADER_BYTES + 50] ^= 1
    assert find_seed(bytes(data), 5, None) == seed_of(77)


def test_frames_of_an_earlier_life_are_not_taken() -> None:
    # The current life has one frame, damaged; behind it lie older groups under another salt.
    data = bytearray(frames(77, 50, 1) + frames(66, 5, 3)[SEGMENT_HEADER_BYTES:])
    assert find_seed(bytes(data), 50, None) == seed_of(77)
    data[SEGMENT_HEADER_BYTES + 50] ^= 1
    assert find_seed(bytes(data), 50, None) is None
    assert find_seed(bytes(data), 1, None) == seed_of(66)


def test_nothing_is_found_in_noise() -> None:
    assert find_seed(Random(2).randbytes(100_000), 0, None) is None
