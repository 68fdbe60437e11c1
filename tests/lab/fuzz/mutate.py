"""Bytes from sound ones: flipped, overwritten, cut, doubled, swapped, spliced."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

_U32: Final = tuple(
    value.to_bytes(4, "little")
    for value in (0, 1, 2, 7, 8, 255, 65_535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
)
_U64: Final = tuple(
    value.to_bytes(8, "little")
    for value in (0, 1, (1 << 32) - 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
)
MOST_GROWTH: Final = 64


def _flip(data: bytearray, at: int, random: Random) -> None:
    data[at] ^= 1 << random.getrandbits(3)


def _byte(data: bytearray, at: int, random: Random) -> None:
    data[at] = random.getrandbits(8)


def _u32(data: bytearray, at: int, random: Random) -> None:
    at &= ~3
    data[at : at + 4] = _U32[random.getrandbits(16) % len(_U32)]


def _u64(data: bytearray, at: int, random: Random) -> None:
    at &= ~3
    data[at : at + 8] = _U64[random.getrandbits(16) % len(_U64)]


def _cut(data: bytearray, at: int, random: Random) -> None:
    del data[at:]


def _drop(data: bytearray, at: int, random: Random) -> None:
    del data[at : at + 1 + random.getrandbits(4)]


def _double(data: bytearray, at: int, random: Random) -> None:
    data[at:at] = data[at : at + 1 + random.getrandbits(5)]


def _append(data: bytearray, at: int, random: Random) -> None:
    data += random.randbytes(1 + random.getrandbits(3))


def _swap(data: bytearray, at: int, random: Random) -> None:
    size = 1 + random.getrandbits(3)
    other = random.getrandbits(24) % len(data)
    data[at : at + size], data[other : other + size] = (
        data[other : other + size],
        data[at : at + size],
    )


_WAYS: Final[tuple[Callable[[bytearray, int, Random], None], ...]] = (
    _flip,
    _flip,
    _byte,
    _u32,
    _u32,
    _u64,
    _cut,
    _drop,
    _double,
    _append,
    _swap,
    _byte,
    _flip,
    _u32,
    _u64,
    _flip,
)
assert len(_WAYS) == 16


def mutate(sound: bytes, random: Random) -> bytes:
    """A few changes to ``sound``; at most 64 bytes longer for each. Never empty bytes."""
    data = bytearray(sound)
    for _ in range(1 + random.getrandbits(2)):
        if not data:
            break
        _WAYS[random.getrandbits(4)](data, random.getrandbits(24) % len(data), random)
    return bytes(data) or b"\0"
