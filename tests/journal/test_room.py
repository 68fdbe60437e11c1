"""The accounts of space: promises are kept, and what is next is what is needed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.journal.format import SETTLE_RESERVE_BYTES
from posthouse.journal.options import LogOptions, Spare
from posthouse.journal.room import Room, Step

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
