"""Records to bytes and back: every record, every prefix, and garbage."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.journal.codec import decode_payload, encode_payload, entries_bound, size_bound
from posthouse.journal.columns import BadRecord
from posthouse.journal.format import (
    FRAME_HEADER_BYTES,
    PUT_OVERHEAD_BYTES,
    SETTLE_RESERVE_BYTES,
    TRAITS_EXTRA_BYTES,
)
from posthouse.model import QueuePolicy, Retry
from posthouse.records import (
    Accepted,
    Bound,
    Closed,
    Copied,
    Declared,
    Delivered,
    Moved,
    Opened,
    Put,
    Record,
    Remembered,
    Returned,
    Settled,
    Traits,
)
from tests.journal.logs import entries, entry

queues = st.integers(1, 2**32 - 1)
ids = st.integers(1, 2**63 - 1)
times_ns = st.integers(0, 2**63 - 1)
attempts = st.integers(0, 10_000)
names = st.text(max_size=20)
traits = st.builds(
    Traits,
    due_ns=times_ns,
    rank=times_ns,
    death=st.binary(max_size=40),
    key=names,
    priority=st.integers(0, 255),
    expires_ns=times_ns,
    dedup=names,
)
policies = st.builds(
    QueuePolicy,
    visibility_timeout_s=st.floats(1, 1000),
    retry=st.sampled_from([Retry(), Retry(3, (1.0, 2.5)), Retry(9, "fixed", 2.0)]),
    dead_letter=st.sampled_from(["", None, "orders.dead"]),
    max_messages=st.none() | st.integers(1, 10**9),
)


@st.composite
def puts(draw: st.DrawFn) -> Put:
    count = draw(st.integers(1, 20))
    first = draw(st.integers(1, 2**62))
    plain = draw(st.booleans())
    batch = [
        (
            first + index,
            2 if plain else draw(st.integers(0, 255)),
            draw(st.binary(max_size=30)),
            b"" if plain else draw(st.binary(max_size=10)),
            None if plain else draw(st.none() | traits),
        )
        for index in range(count)
    ]
    return Put(draw(queues), draw(ids), draw(times_ns), batch)


@st.composite
def runs_or_not(draw: st.DrawFn) -> list[int]:
    if draw(st.booleans()):
        first = draw(st.integers(1, 2**62))
        return list(range(first, first + draw(st.integers(1, 50))))
    return draw(st.lists(ids, min_size=1, max_size=20))


@st.composite
def returned(draw: st.DrawFn) -> Returned:
    rows = draw(st.lists(st.tuples(ids, attempts, times_ns), max_size=20))
    return Returned(draw(queues), *([row[at] for row in rows] for at in range(3)))


@st.composite
def delivered(draw: st.DrawFn) -> Delivered:
    rows = draw(st.lists(st.tuples(ids, attempts), max_size=20))
    return Delivered(draw(queues), *([row[at] for row in rows] for at in range(2)))


@st.composite
def remembered(draw: st.DrawFn) -> Remembered:
    rows = draw(st.lists(st.tuples(names, ids), max_size=20))
    return Remembered(draw(queues), [row[0] for row in rows], [row[1] for row in rows])


@st.composite
def accepted(draw: st.DrawFn) -> Accepted:
    rows = draw(st.lists(st.tuples(ids, attempts, ids), max_size=20))
    return Accepted(draw(ids), *([row[at] for row in rows] for at in range(3)))


records = st.one_of(
    st.builds(Opened, epoch=st.integers(1, 2**32), at_ns=times_ns),
    st.builds(Closed, at_ns=times_ns),
    st.builds(Declared, queue=queues, name=names, policy=policies),
    puts(),
    st.builds(Settled, queue=queues, ids=runs_or_not()),
    returned(),
    st.builds(Moved, queue=queues, target=queues, id=ids, traits=traits),
    delivered(),
    st.builds(Bound, topic=names, queue=queues, pattern=names, bound=st.booleans()),
    remembered(),
    accepted(),
)


@st.composite
def published(draw: st.DrawFn) -> list[Record]:
    """A put and copies of some of its messages, other records between them."""
    put = draw(puts())
    batch: list[Record] = [put]
    for message_id in draw(st.lists(ids, max_size=4)):
        batch += draw(st.lists(records, max_size=1))
        of = draw(st.sampled_from(put.entries))
        copy = (message_id, *of[1:4], draw(st.none() | traits))
        batch.append(Copied(draw(queues), draw(ids), draw(times_ns), copy, of[0]))
    return batch


def _disjoint(batch: list[Record]) -> bool:
    """Whether no message id is put twice, which a log never does."""
    spans = sorted(
        (record.entries[0][0], record.entries[-1][0]) for record in batch if isinstance(record, Put)
    )
    return all(one[1] < other[0] for one, other in itertools.pairwise(spans))


def batches(least: int, most: int) -> st.SearchStrategy[list[Record]]:
    """The records of a frame."""
    pieces = st.one_of(records.map(lambda record: [record]), published())
    return (
        st.lists(pieces, min_size=least, max_size=most)
        .map(lambda parts: [record for part in parts for record in part])
        .filter(_disjoint)
    )


@given(batches(0, 6))
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read(batch: list[Record]) -> None:
    payload = encode_payload(batch)
    assert len(payload) % 8 == 0
    assert decode_payload(payload, 0, len(payload), len(batch)) == batch
    # Where it lies among other bytes makes no difference.
    data = b"x" * 13 + payload + b"y" * 9
    assert decode_payload(data, 13, 13 + len(payload), len(batch)) == batch


@given(batches(1, 3), st.data())
@settings(max_examples=200, deadline=None)
def test_a_prefix_is_refused(batch: list[Record], data: st.DataObject) -> None:
    payload = encode_payload(batch)
    whole = len(payload.rstrip(b"\0"))
    cut = data.draw(st.integers(0, max(0, whole - 1)))
    with pytest.raises(BadRecord):
        decode_payload(payload[:cut], 0, cut, len(batch))


@given(batches(1, 3), st.binary(min_size=8, max_size=24))
@settings(max_examples=100, deadline=None)
def test_more_than_the_records_is_refused(batch: list[Record], more: bytes) -> None:
    payload = encode_payload(batch) + more
    with pytest.raises(BadRecord):
        decode_payload(payload, 0, len(payload), len(batch))


@given(st.binary(max_size=200), st.integers(1, 5))
@settings(max_examples=500, deadline=None)
def test_garbage_raises_nothing_else(data: bytes, count: int) -> None:
    try:
        found = decode_payload(data, 0, len(data), count)
    except BadRecord:
        return
    assert len(found) == count


@given(batches(1, 3), st.data())
@settings(max_examples=300, deadline=None)
def test_damage_raises_nothing_else(batch: list[Record], data: st.DataObject) -> None:
    payload = bytearray(encode_payload(batch))
    for _ in range(data.draw(st.integers(1, 4))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_payload(bytes(payload), 0, len(payload), len(batch))
    except BadRecord:
        pass


@given(records)
@settings(max_examples=300, deadline=None)
def test_the_bound_covers_a_frame_of_its_own(record: Record) -> None:
    reserve = SETTLE_RESERVE_BYTES * len(record.entries) if isinstance(record, Put) else 0
    assert FRAME_HEADER_BYTES + len(encode_payload([record])) + reserve <= size_bound(record)


@given(published())
@settings(max_examples=100, deadline=None)
def test_the_bound_covers_a_copy(batch: list[Record]) -> None:
    copies = [at for at, record in enumerate(batch) if isinstance(record, Copied)]
    for at in copies:
        more = len(encode_payload(batch[: at + 1])) - len(encode_payload(batch[:at]))
        bound = size_bound(batch[at])
        assert FRAME_HEADER_BYTES + more + SETTLE_RESERVE_BYTES <= bound
        assert bound < 1000  # the body is not in it


def test_a_copy_is_stored_without_the_body() -> None:
    body = b"x" * 10_000
    put = Put(1, 1, 1, [entry(1), entry(2, body, headers=b"h", kind=3)])
    copy = Copied(2, 1, 2, (3, 3, body, b"h", Traits(key="k")), 2)
    payload = encode_payload([put, copy])
    assert len(payload) - len(encode_payload([put])) < 100
    assert decode_payload(payload, 0, len(payload), 2) == [put, copy]


@pytest.mark.parametrize("of", [1, 5, 8])
def test_a_copy_of_what_is_not_before_it_in_its_frame_is_refused(of: int) -> None:
    copy = Copied(2, 1, 2, entry(9), of)
    payload = encode_payload([Put(1, 1, 1, entries(2, 3)), copy, Put(1, 1, 4, entries(8, 1))])
    with pytest.raises(BadRecord, match="not in its frame"):
        decode_payload(payload, 0, len(payload), 3)


def test_a_plain_batch_has_no_columns_but_the_sizes() -> None:
    payload = encode_payload([Put(1, 2, 3, entries(10, 1000, b"x" * 16))])
    assert len(payload) == 8 + 32 + 1000 * (4 + 16)


def test_the_bound_of_entries_is_what_the_engine_checks() -> None:
    batch = [
        entry(1, b"abc", headers=b"hh", traits=Traits(death=b"dead")),
        entry(2, b"", kind=0),
    ]
    assert entries_bound(batch) == 2 * PUT_OVERHEAD_BYTES + 3 + 2 + TRAITS_EXTRA_BYTES + 4


@pytest.mark.parametrize(
    "record",
    [
        Put(1, 1, 1, [entry(1), entry(3)]),
        Returned(1, [1, 2], [1], [0, 0]),
        Delivered(1, [1], []),
        Remembered(1, ["a"], []),
        Accepted(1, [1, 2], [1, 1], [1]),
    ],
    ids=[
        "a gap in the ids",
        "a short column",
        "an empty column",
        "a dedup id too many",
        "an id too few",
    ],
)
def test_what_the_log_cannot_hold_is_refused(record: Record) -> None:
    with pytest.raises(ValueError, match=r"consecutive|one length"):
        encode_payload([record])


def test_an_endless_run_is_refused() -> None:
    payload = bytearray(encode_payload([Settled(1, [5, 6, 7])]))
    payload[12:16] = b"\xff\xff\xff\xff"
    with pytest.raises(BadRecord, match="too long"):
        decode_payload(bytes(payload), 0, len(payload), 1)
