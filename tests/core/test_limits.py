"""Rates: in any stretch of time no more than they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.core.limits import Rate
from posthouse.errors import BadArgument
from posthouse.model import NANOSECONDS, QueuePolicy, parse_rate


@given(
    st.sampled_from(["1/s", "2/s", "10/s", "0.5/s", "90/min", "3/2s", "5/h"]),
    st.lists(st.sampled_from([0, 1, NANOSECONDS // 10, NANOSECONDS, 7 * NANOSECONDS]), max_size=60),
)
def test_never_more_than_a_burst_and_the_rate(text: str, steps: list[int]) -> None:
    count, per_s = parse_rate(text)
    rate = Rate(text)
    now_ns = 10**18
    taken: list[int] = []
    for step in steps:
        now_ns += step
        for _ in range(50):
            if rate.free_ns() <= now_ns:
                rate.take(now_ns)
                taken.append(now_ns)
    burst = max(1.0, count / per_s)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            length_s = (taken[last] - taken[first]) / NANOSECONDS
            assert last - first + 1 <= burst + length_s * count / per_s + 1e-6


@pytest.mark.parametrize(("text", "interval_s"), [("4/s", 0.25), ("0.5/s", 2), ("1/2min", 120)])
def test_one_more_when_its_time_has_come(text: str, interval_s: float) -> None:
    rate = Rate(text)
    now_ns = 10**18
    for _ in range(10):
        if rate.free_ns() <= now_ns:
            rate.take(now_ns)
    assert rate.free_ns() == now_ns + int(interval_s * NANOSECONDS)
    rate.take(rate.free_ns())
    assert rate.free_ns() == now_ns + 2 * int(interval_s * NANOSECONDS)


def test_what_was_not_used_is_not_saved_up_beyond_a_second() -> None:
    rate = Rate("3/s")
    for now_ns in (10**18, 2 * 10**18):
        count = 0
        for _ in range(10):
            if rate.free_ns() <= now_ns:
                rate.take(now_ns)
                count += 1
        assert count == 3


@pytest.mark.parametrize(
    "text", ["", "1", "0/s", "1/0s", "-1/s", "1/d", "1 /s", "x/s", 5, None, "1e3/s"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(BadArgument):
        parse_rate(text)
    if text is not None:
        with pytest.raises(BadArgument):
            QueuePolicy(rate=text)
        with pytest.raises(BadArgument):
            QueuePolicy(rate_per_key=text)
