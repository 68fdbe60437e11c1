"""Sound inputs to begin with: records of every kind, segments, rings."""

from __future__ import annotations

from random import Random
from typing import Any, Final

import msgspec

from posthouse.journal.codec import encode_payload
from posthouse.journal.format import (
    FLAG_CATALOG,
    FLAG_CLOSED,
    FLAG_MARKER,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    seed_of,
)
from posthouse.journal.frames import build_frame
from posthouse.journal.options import SealedFrame
from posthouse.journal.ring import pack_slot
from posthouse.model import QueuePolicy, Retry
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

NOW_NS: Final = 1_700_000_000_000_000_000


def draw_traits(random: Random) -> Traits:
    """Some traits."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Traits):
        if random.random() < 0.4:
            kind = field.type
            small: Any = random.getrandbits(7 if field.name == "priority" else 60)
            values[field.name] = (
                small
                if kind is int
                else random.randbytes(3)
                if kind is bytes
                else f"{random.getrandbits(16):x}"
            )
    return Traits(**values)


def draw_entry(random: Random, message_id: int) -> Entry:
    """A message, plain or not."""
    body = random.randbytes(random.getrandbits(4))
    if random.random() < 0.6:
        return (message_id, 2, body, b"", None)
    headers = msgspec.msgpack.encode({"k": "v" * random.getrandbits(2)})
    return (message_id, random.getrandbits(2), body, headers, draw_traits(random))


def draw_record(random: Random) -> Record:
    """A record of any kind."""
    count = 1 + random.getrandbits(2)
    first = NOW_NS + random.getrandbits(20)
    queue = 1 + random.getrandbits(2)
    ids = list(range(first, first + count))
    some = [NOW_NS + random.getrandbits(30) for _ in range(count)]
    attempts = [random.getrandbits(3) for _ in ids]
    policy = QueuePolicy(
        retry=Retry(1 + random.getrandbits(3)), dead_letter=random.choice(["", None, "dead"])
    )
    made: list[Record] = [
        Opened(1 + random.getrandbits(8), NOW_NS),
        Closed(NOW_NS),
        Declared(queue, f"q{queue}", policy),
        Put(queue, 1, random.getrandbits(8), [draw_entry(random, number) for number in ids]),
        Settled(queue, ids),
        Settled(queue, some),
        Returned(queue, ids, attempts, [0 if number % 2 else number for number in ids]),
        Moved(queue, queue + 1, first, draw_traits(random)),
        Delivered(queue, ids, attempts),
        Copied(queue, 1, random.getrandbits(8), draw_entry(random, first), first - 1),
        Bound("topic", queue, "a.*", bool(random.getrandbits(1))),
        Remembered(queue, [f"d{number}" for number in ids], ids),
        Accepted(random.getrandbits(62), ids, attempts, ids),
    ]
    return made[random.randrange(len(made))]


def draw_payload(random: Random) -> tuple[bytes, int]:
    """A frame's payload and how many records it has."""
    records = [draw_record(random) for _ in range(1 + random.getrandbits(1))]
    return encode_payload(records), len(records)


def draw_segment(random: Random) -> bytes:
    """A small segment: header, catalog, groups, a marker or the clean close, stale or empty."""
    salt = random.getrandbits(64)
    header = SegmentHeader(1, salt, 5, 0, 0, NOW_NS, SEGMENT_HEADER_BYTES, False)
    seed, sequence = seed_of(salt), 5
    data = b""
    for index in range(2 + random.getrandbits(2)):
        flags = 0 if index else FLAG_CATALOG
        payload, count = draw_payload(random)
        at = SEGMENT_HEADER_BYTES + len(data)
        data += build_frame(SealedFrame(payload, count, sequence, flags, 1), seed, at) + payload
        sequence += bool(index)
    if random.random() < 0.5:
        flags = random.choice([FLAG_MARKER, FLAG_CLOSED])
        data += build_frame(SealedFrame(b"", 0, sequence, flags, 1), seed, at)
    tail = bytes(64) if random.random() < 0.5 else data[:64]
    return header.pack() + data + tail


def draw_ring(random: Random) -> bytes:
    """Some slots of an attempts ring."""
    return b"".join(
        pack_slot(
            1 + random.getrandbits(1),
            1 + random.getrandbits(1),
            1 + random.getrandbits(2),
            1 + random.getrandbits(3),
            random.getrandbits(24),
            NOW_NS + random.getrandbits(6),
        )
        for _ in range(1 + random.getrandbits(2))
    )
