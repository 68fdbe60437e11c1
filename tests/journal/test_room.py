"""The accounts of space: promises are kept, and what is next is what is needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.journal.codec import size_bound
from posthouse.journal.format import SETTLE_RESERVE_BYTES
from posthouse.journal.options import LogOptions, Spare
from posthouse.journal.room import Room, Step
from posthouse.records import Put

SEGMENT = 1 << 20


def make(left: int, spares: list[Spare] | None = None, **options: int) -> Room:
    settings = LogOptions(segment_bytes=SEGMENT, first_bytes=1 << 18, **options)  # type: ignore[arg-type]
    return Room(settings, 1, SEGMENT, left, spares or [])


def test_puts_leave_room_for_the_settlements_of_what_lives() -> None:
    room = make(500_000)
    before = room.for_puts(0)
    assert before == 500_000 - room.base
    room.live = 1000
    assert room.for_puts(0) == before - 1000 * SETTLE_RESERVE_BYTES
    assert room.for_settlements(0) == 500_000


def test_a_spare_holds_the_reserve() -> None:
    room = make(500_000, [Spare("spare-1", SEGMENT)])
    assert room.for_puts(0) == 500_000 - room.margin
    assert room.for_settlements(0) > 1_400_000


def test_what_was_not_needed_comes_back_where_it_belongs() -> None:
    room = make(500_000)
    room.take(10_000)
    room.take(20_000)
    room.settle_up(1, 10_000, 4_000)
    assert (room.left, room.pending) == (476_000, 20_000)
    room.spares.append(Spare("spare-1", SEGMENT))
    room.advance(room.spares[0])
    left = room.left
    room.settle_up(1, 20_000, 1_000)  # the rest of it lies in the segment before
    assert (room.left, room.pending, room.segment) == (left, 0, 2)


@given(
    size=st.integers(0, SEGMENT),
    left=st.integers(0, SEGMENT),
    spares=st.lists(st.integers(1, 64).map(lambda pages: pages * 16_384), max_size=3),
    live=st.integers(0, 20_000),
    wanted=st.integers(1, 5_000_000),
)
def test_the_next_steps_lead_to_what_is_wanted(
    size: int, left: int, spares: list[int], live: int, wanted: int
) -> None:
    settings = LogOptions(segment_bytes=SEGMENT, first_bytes=1 << 18, pending_bytes=1 << 30)
    room = Room(settings, 1, size, min(left, size), [])
    room.spares = [Spare(f"spare-{at}", size) for at, size in enumerate(spares)]
    room.live = live
    for _ in range(20):
        need = room.next_step(0, wanted)
        if need.step is Step.NONE:
            break
        if need.step is Step.GROW:
            assert 0 < need.least_bytes <= need.size_bytes
            room.grown(room.size_bytes + need.size_bytes)
            assert room.size_bytes <= room.capacity
        elif need.step is Step.SPARE:
            assert 0 < need.least_bytes <= need.size_bytes
            room.spares.append(Spare("new", need.least_bytes))
        else:
            assert need.spare is not None
            room.advance(need.spare)
    else:
        raise AssertionError("it never comes to an end")
    assert room.for_puts(0) >= wanted


def _kept() -> Room:
    room = make(500_000, [Spare("spare-1", SEGMENT), Spare("spare-2", SEGMENT)])
    room.keep(True, 1 << 40)
    assert room.kept == Spare("spare-1", SEGMENT)
    assert [spare.name for spare in room.spares] == ["spare-2"]
    return room


def test_what_is_kept_for_copies_is_not_for_puts() -> None:
    room = _kept()
    before = room.for_puts(0)
    assert room.for_puts(0, copies=True) == before
    assert room.lend()
    assert room.kept is None
    assert not room.lend()
    assert room.for_puts(0) == before == 500_000 - room.margin
    room.left = 100_000
    wanted = 200_000
    need = room.next_step(0, wanted, copies=True)
    assert need.step is Step.ADVANCE
    assert need.spare is not None
    room.advance(need.spare)
    assert room.for_puts(0, copies=True) >= wanted
    # What is copied is not kept from puts any more: it is where it was to be.
    room.spares.clear()
    before = room.for_puts(0)
    put = Put(1, 0, 0, [(7, 0, b"x" * 300_000, b"", None)], True)
    room.count([put])
    assert room.for_puts(0) == before + size_bound(put)
    assert room.for_puts(0) < room.for_puts(0, copies=True)


def test_a_free_segment_is_kept_again_and_puts_have_the_rest() -> None:
    room = _kept()
    room.lend()
    room.advance(room.spares[0])
    room.advance(room.spares[0])
    assert room.for_puts(0) < 0
    room.take_back(Spare("spare-3", SEGMENT))
    assert room.for_puts(0) == room.for_puts(0, copies=True) > 0


def test_settlements_may_have_what_is_kept() -> None:
    room = make(20_000)
    before = room.for_settlements(0)
    room.keep(True, 1 << 40)
    room.take_back(Spare("spare-1", SEGMENT))
    assert room.for_settlements(0) > before + SEGMENT * 9 // 10
    assert room.spare_for(30_000) == Spare("spare-1", SEGMENT)
    assert room.kept is None


def test_it_is_made_in_chunks_while_nothing_else_is_wanted_and_given_back() -> None:
    room = make(500_000, [Spare("spare-1", SEGMENT)])
    assert room.next_step(0, 0).step is Step.NONE
    room.keep(True, 1 << 40)
    need = room.next_step(0, 0)
    assert (need.step, need.spare, need.size_bytes) == (Step.KEEP, None, SEGMENT)
    room.take_back(Spare("spare-2", SEGMENT // 2))
    need = room.next_step(0, 0)
    assert (need.step, need.spare, need.size_bytes) == (Step.KEEP, room.kept, SEGMENT // 2)
    room.take_back(Spare("spare-2", SEGMENT))
    assert room.next_step(0, 0).step is Step.NONE
    room.keep(False, 1 << 40)
    assert room.kept is None
    assert len(room.spares) == 2


def test_spares_beyond_what_they_may_come_to_are_removed_but_for_the_reserve() -> None:
    spares = [Spare(f"spare-{number}", SEGMENT) for number in range(4)]
    room = make(500_000, spares)
    room.keep(True, 2 * SEGMENT)
    removed = 0
    while (need := room.next_step(0, 0)).step is Step.DROP:
        assert need.spare is not None
        room.spares.remove(need.spare)
        removed += 1
    assert removed == 2
    room.live = 100_000
    room.keep(True, 0)
    assert room.reserve > SEGMENT
    assert room.next_step(0, 0).step is not Step.DROP
    assert not room.wants_spare(0) or room.reserve > SEGMENT * 15 // 16


@given(st.lists(st.sampled_from(["put", "work"]), max_size=60), st.integers(100, 30_000))
def test_keeping_ahead_ends_and_keeps_the_reserve(calls: list[str], size: int) -> None:
    room = make(200_000)
    for call in calls:
        if call == "put" and room.for_puts(0) >= size:
            room.take(size)
            room.live += 1
            room.settle_up(room.segment, size, size - SETTLE_RESERVE_BYTES)
        for _ in range(40):
            need = room.next_step(0, 0)
            if need.step is Step.NONE:
                break
            if need.step is Step.GROW:
                room.grown(room.size_bytes + need.size_bytes)
            elif need.step is Step.SPARE:
                room.spares.append(Spare("new", need.size_bytes))
            else:
                assert need.spare is not None
                room.advance(need.spare)
        else:
            raise AssertionError("it never comes to an end")
        assert room.for_settlements(0) >= room.reserve
