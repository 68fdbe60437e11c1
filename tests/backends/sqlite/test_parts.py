"""Small parts: rates, runs of ids, what iterators yielded, FIFOs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.backends.sqlite.bell import EVERYTHING, Bell, clean
from posthouse.backends.sqlite.books import pack, runs, unpack
from posthouse.backends.sqlite.yields import SLOTS, Yields, yielded
from posthouse.core.limits import Pace, Rate

RATES = ["1/s", "10/s", "100/s", "5/min", "1/h", "1000/10min"]


@given(st.sampled_from(RATES), st.lists(st.integers(0, 3 * 10**9), max_size=40))
def test_a_pace_is_the_cores_rate(text: str, steps: list[int]) -> None:
    rate, pace = Rate(text), Pace(text)
    now_ns, next_ns = 10**18, 0
    for step in steps:
        now_ns += step
        assert pace.free_ns(next_ns) == rate.free_ns()
        assert (pace.allowed(next_ns, now_ns) > 0) == (rate.free_ns() <= now_ns)
        if rate.free_ns() <= now_ns:
            rate.take(now_ns)
            next_ns = pace.after(next_ns, now_ns)


@given(st.sampled_from(RATES), st.integers(0, 10**10))
def test_so_many_as_are_allowed_can_be_taken_one_by_one(text: str, later_ns: int) -> None:
    pace = Pace(text)
    now_ns = 10**18
    next_ns = pace.after(0, now_ns)
    now_ns += later_ns
    allowed = pace.allowed(next_ns, now_ns)
    assert pace.after(next_ns, now_ns, allowed) == _one_by_one(pace, next_ns, now_ns, allowed)


def _one_by_one(pace: Pace, next_ns: int, now_ns: int, count: int) -> int:
    for _ in range(count):
        assert pace.free_ns(next_ns) <= now_ns
        next_ns = pace.after(next_ns, now_ns)
    assert pace.free_ns(next_ns) > now_ns
    return next_ns


@given(st.lists(st.integers(-50, 50), unique=True))
def test_runs_are_the_numbers(numbers: list[int]) -> None:
    found = runs(numbers)
    assert sorted(numbers) == [n for first, last in found for n in range(first, last + 1)]
    assert all(one[1] + 1 < two[0] for one, two in pairwise(found))


@given(st.lists(st.integers(0, (1 << 63) - 1)))
def test_ids_go_into_a_lease_and_out(ids: list[int]) -> None:
    assert unpack(pack(ids)) == ids


def test_what_was_yielded_is_read_by_others(tmp_path: Path) -> None:
    path = tmp_path / "1.seen"
    yields = Yields(path)
    assert yielded(path, 5) == 0, "not begun"
    for count in (1, 2, 3):
        yields.mark(5, count)
        yields.mark(6, 10 * count)
    assert (yielded(path, 5), yielded(path, 6), yielded(path, 7)) == (3, 30, 0)
    for token in range(100, 100 + SLOTS):
        yields.mark(token, 1)
    assert yielded(path, 5) is None, "pushed out by newer ones: nobody knows"
    assert yielded(path, 100 + SLOTS) == 0, "newer than all: not begun"
    yields.close()
    assert not path.exists()
    assert yielded(path, 100) is None


def test_a_bell_rings_at_others(tmp_path: Path) -> None:
    one, two = Bell(tmp_path, 1), Bell(tmp_path, 2)
    assert one.ring([2], [7, -8]) == []
    assert two.hear() == {7, -8}
    assert two.hear() == set()
    assert one.ring([2], range(1, 5000)) == []
    assert two.hear() == {EVERYTHING}
    for _ in range(20_000):
        assert one.ring([2], range(1, 200)) == [], "nobody waits for who does not listen"
    assert one.is_alive(2)
    two.close()
    assert not one.is_alive(2)
    assert one.ring([2, 3], [7]) == [2, 3]
    one.close()
    assert list(tmp_path.iterdir()) == []


def test_who_died_without_a_word_is_noticed(tmp_path: Path) -> None:
    one, two = Bell(tmp_path, 1), Bell(tmp_path, 2)
    assert one.ring([2], [7]) == []
    two.let_go()  # what the end of its process does
    assert one.ring([2], [7]) == [2]
    assert not one.is_alive(2)
    clean(tmp_path, 2)
    assert not (tmp_path / "2.fifo").exists()
    one.close()


@pytest.mark.parametrize("count", [1, 256])
def test_numbers_are_told_as_they_are(tmp_path: Path, count: int) -> None:
    one, two = Bell(tmp_path, 1), Bell(tmp_path, 2)
    one.ring([2], range(1, count + 1))
    assert two.hear() == set(range(1, count + 1))
    one.close()
    two.close()
