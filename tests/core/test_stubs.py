"""Where stubs stand: rows that come and go anywhere, against a dict."""

from __future__ import annotations

from random import Random

import pytest

from posthouse.core.pages import FRAME_UNIT
from posthouse.core.places import Placed
from posthouse.core.stubs import CHUNK_ROWS, Stubs, is_stub, may_be_stub
from posthouse.records import Entry, Traits


def entries_of(ids: range, size: int) -> list[Entry]:
    return [(number, 2, b"x" * size, b"h", Traits(key="k", priority=number % 3)) for number in ids]


def everything(stubs: Stubs) -> dict[int, Placed]:
    return {row.rank: row for part in stubs.parts() for row in part}


@pytest.mark.parametrize("seed", range(10))
def test_rows_come_and_go_anywhere(seed: int) -> None:
    rng = Random(seed)
    stubs = Stubs()
    expected: dict[int, tuple[int, int, int, int, int]] = {}
    spans = [range(at, at + 500, 2) for at in range(1_000, 31_000, 500)]
    # And those between them.
    spans += [range(span.start + 1, span.stop, 2) for span in spans]
    rng.shuffle(spans)
    for ids in spans:
        segment, frame, record = rng.randrange(1, 9), rng.randrange(99), rng.randrange(99)
        added = entries_of(ids, rng.randrange(9))
        shorter = stubs.add(added, segment, (ids[0], len(ids), frame * FRAME_UNIT, record))
        assert all(map(is_stub, shorter))
        for entry in added:
            expected[entry[0]] = segment, frame, record, len(entry[2]) + 1, entry[0] % 3
        for rank in rng.sample(list(expected), len(expected) // 3):
            if rng.random() < 0.9:
                assert stubs.drop(rank)
                del expected[rank]
            else:
                stubs.relocate(rank, 70, (rank, 1, 7 * FRAME_UNIT, 5))
                expected[rank] = 70, 7, 5, *expected[rank][3:]
    found = everything(stubs)
    assert list(found) == sorted(expected)
    assert {rank: (*row[3:7], row.priority) for rank, row in found.items()} == expected
    assert stubs.count == len(expected)
    assert stubs.size_bytes == sum(row.size_bytes for row in found.values())
    assert {row.rank for row in stubs.in_segment(70, 10**6)} == {
        rank for rank, row in expected.items() if row[0] == 70
    }
    for rank in list(expected):
        assert stubs.get(rank) == found[rank]
        assert stubs.drop(rank)
        assert not stubs.drop(rank)
    assert not everything(stubs)
    assert (stubs.count, stubs.size_bytes) == (0, 0)


def test_a_run_comes_between_others_in_parts() -> None:
    stubs = Stubs()
    late = entries_of(range(10 * CHUNK_ROWS, 12 * CHUNK_ROWS), 1)
    stubs.add(late, 2, (late[0][0], len(late), 0, 0))
    early = entries_of(range(1, 3 * CHUNK_ROWS), 1)
    stubs.add(early, 1, (1, len(early), 0, 0))
    middle = entries_of(range(10 * CHUNK_ROWS - 5, 10 * CHUNK_ROWS), 1)
    stubs.add(middle, 3, (middle[0][0], len(middle), 0, 0))
    found = everything(stubs)
    assert list(found) == [entry[0] for entry in (*early, *middle, *late)]
    assert {row.segment for row in found.values() if row.rank < 3 * CHUNK_ROWS} == {1}
    assert [found[entry[0]].segment for entry in middle] == [3] * 5


def test_what_may_be_a_stub() -> None:
    def of(traits: Traits | None) -> Entry:
        return 1, 2, b"", b"", traits

    assert may_be_stub(of(Traits(key="k", priority=3)))
    assert not may_be_stub(of(None))
    assert not may_be_stub(of(Traits(priority=3)))
    assert may_be_stub(of(None), fair=True)
    assert may_be_stub(of(Traits(priority=3, dedup="d")), fair=True)
    assert may_be_stub(of(Traits(key="k", due_ns=9, expires_ns=9)))
    assert not may_be_stub(of(Traits(due_ns=9, expires_ns=9)))
    for other in (Traits(key="k", rank=9), Traits(key="k", death=b"d")):
        assert not may_be_stub(of(other), fair=True)
