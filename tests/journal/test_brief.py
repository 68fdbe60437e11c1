"""A put of one plain message in a frame of its own is read in a quicker way, to the same end."""

from __future__ import annotations

import random

import pytest

from posthouse.journal.brief import decode_brief, lone_put
from posthouse.journal.codec import encode_payload
from posthouse.journal.columns import BadRecord
from posthouse.records import Entry, Put, Record, Settled, Stored, Traits


def _entry(rng: random.Random, number: int, *, plain: bool = True) -> Entry:
    body = rng.randbytes(rng.randrange(40))
    if plain:
        return (number, 0, body, b"", None)
    traits = rng.choice((None, Traits(priority=3)))
    return (number, rng.randrange(2), body, rng.choice((b"", b"h: x")), traits)


def _payload(rng: random.Random) -> bytes:
    first = rng.randrange(1, 1 << 62)
    plain = rng.random() < 0.6
    count = 1 if rng.random() < 0.7 else 3
    entries = [_entry(rng, first + at, plain=plain) for at in range(count)]
    records: list[Record] = [
        Put(rng.randrange(1, 9), rng.randrange(1 << 40), 7, entries, carried=rng.random() < 0.1)
    ]
    if rng.random() < 0.2:
        records.append(Settled(1, [first]))
    return encode_payload(records)


def _same(data: bytes, start: int, end: int) -> bool:
    """Whether the quick way read it; then it says what the long way says."""
    lone = lone_put(data, start, end)
    if lone is None:
        return False
    (stored,) = decode_brief(data, start, end, 1)
    assert isinstance(stored, Stored)
    assert (stored.traits, stored.offset, stored.carried, stored.count) == (None, 0, False, 1)
    found = stored.queue, stored.producer, stored.sequence, stored.first_id, stored.size_bytes
    assert lone == found
    return True


@pytest.mark.parametrize("seed", range(60))
def test_the_quick_way_says_what_the_long_way_says(seed: int) -> None:
    rng = random.Random(seed)
    payload = _payload(rng)
    data = b"before" + payload + b"behind"
    _same(data, 6, 6 + len(payload))
    for _ in range(300):
        spoilt = bytearray(data)
        spoilt[rng.randrange(6, 6 + len(payload))] ^= 1 << rng.randrange(8)
        _same(bytes(spoilt), 6, 6 + len(payload))
    for end in range(6, 6 + len(payload)):
        _same(data, 6, end)


def test_a_plain_put_of_one_is_read_in_the_quick_way_and_nothing_else() -> None:
    entry: Entry = (77, 0, b"body", b"", None)
    alone = encode_payload([Put(2, 5, 9, [entry])])
    assert _same(alone, 0, len(alone))
    assert lone_put(alone, 0, len(alone)) == (2, 5, 9, 77, 4)
    others: list[list[Record]] = [
        [Put(2, 5, 9, [entry], carried=True)],
        [Put(2, 5, 9, [entry, (78, 0, b"", b"", None)])],
        [Put(2, 5, 9, [(77, 0, b"body", b"head", None)])],
        [Put(2, 5, 9, [(77, 0, b"body", b"", Traits(priority=1))])],
        [Put(2, 5, 9, [entry]), Settled(2, [77])],
        [Settled(2, [77])],
    ]
    for other in others:
        payload = encode_payload(other)
        assert lone_put(payload, 0, len(payload)) is None


def test_what_is_damaged_is_left_to_the_long_way() -> None:
    payload = bytearray(encode_payload([Put(2, 5, 9, [(77, 0, b"body1", b"", None)])]))
    payload[-1] ^= 1  # the padding
    assert lone_put(bytes(payload), 0, len(payload)) is None
    with pytest.raises(BadRecord):
        decode_brief(bytes(payload), 0, len(payload), 1)
