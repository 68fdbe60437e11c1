"""The frozen values: names, seconds, retries, policies."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.errors import BadArgument, InvalidName
from posthouse.model import (
    MAX_DELAY_S,
    NANOSECONDS,
    QueuePolicy,
    Retry,
    check_queue_name,
    check_seconds,
)


@pytest.mark.parametrize(
    ("seconds", "expected_ns"),
    [(0, 0), (0.0, 0), (1, NANOSECONDS), (0.5, NANOSECONDS // 2), (1e-9, 1), (1e-10, 0)],
)
def test_seconds_are_nanoseconds(seconds: float, expected_ns: int) -> None:
    assert check_seconds("x", seconds) == expected_ns


@pytest.mark.parametrize(
    "seconds",
    [
        *(-1, -1e-9, MAX_DELAY_S * 1.001, float("nan"), float("inf"), -float("inf")),
        *(2**63, 10**5000, -(10**400), "1", None, True, False, 1j, [1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_seconds_that_are_refused(seconds: Any) -> None:
    with pytest.raises(BadArgument, match="the wait"):
        check_seconds("the wait", seconds)


def test_seconds_have_bounds_of_their_own() -> None:
    assert check_seconds("x", 0.001, least=0.001) == NANOSECONDS // 1000
    with pytest.raises(BadArgument, match=r"from 0\.001 to"):
        check_seconds("x", 0, least=0.001)
    with pytest.raises(BadArgument, match="from 0 to 10"):
        check_seconds("x", 10.1, most=10.0)


@given(st.text(max_size=250))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    good = 0 < len(text) <= 200 and set(text) <= allowed and text[0] not in "-."
    if good:
        assert check_queue_name(text) == text
    else:
        with pytest.raises(InvalidName):
            check_queue_name(text)


@pytest.mark.parametrize("name", ["a\n", "\na", "a\r", "A" * 200 + "\n", "a\x00", "ａ", "a\u0301"])
def test_names_that_look_right(name: str) -> None:
    with pytest.raises(InvalidName):
        check_queue_name(name)


@pytest.mark.parametrize(
    ("retry", "attempt", "expected_s"),
    [
        (Retry(jitter=False), 1, 1.0),
        (Retry(jitter=False), 2, 2.0),
        (Retry(jitter=False), 9, 256.0),
        (Retry(jitter=False), 10, 300.0),
        (Retry(jitter=False), 10_000, 300.0),
        (Retry(backoff="fixed", first_s=7.0, jitter=False), 99, 7.0),
        (Retry(backoff="fixed", first_s=400.0, jitter=False), 1, 300.0),
        (Retry(backoff=(1.0, 5.0), jitter=False), 1, 1.0),
        (Retry(backoff=(1.0, 5.0), jitter=False), 2, 5.0),
        (Retry(backoff=(1.0, 5.0), jitter=False), 1000, 5.0),
        (Retry(backoff=(1000.0,), jitter=False), 1, 300.0),
        (Retry(first_s=0.0, jitter=False), 60, 0.0),
    ],
)
def test_backoff(retry: Retry, attempt: int, expected_s: float) -> None:
    assert retry.delay_ns(attempt, 0.5) == int(expected_s * NANOSECONDS)


@given(
    st.floats(0, 1, exclude_max=True),
    st.integers(1, 10_000),
    st.sampled_from([Retry(), Retry(backoff="fixed"), Retry(backoff=(0.0, 2.0, 1e6))]),
)
def test_full_jitter_is_within_the_computed_delay(
    chance: float, attempt: int, retry: Retry
) -> None:
    plain = Retry(retry.max_attempts, retry.backoff, retry.first_s, retry.most_s, False)
    most_ns = plain.delay_ns(attempt, 0.0)
    assert 0 <= retry.delay_ns(attempt, chance) <= most_ns <= 300 * NANOSECONDS
    assert retry.delay_ns(attempt, 0.0) == 0


def test_a_policy_of_defaults() -> None:
    policy = QueuePolicy()
    assert (policy.visibility_timeout_s, policy.retry.max_attempts) == (30.0, 5)
    assert (policy.max_messages, policy.max_bytes, policy.overflow) == (None, None, "wait")
    assert policy.dead_letter == ""
    assert policy.is_plain()


@pytest.mark.parametrize(
    "setting",
    [
        {"visibility_timeout_s": 0},
        {"visibility_timeout_s": float("nan")},
        {"dead_letter": "a/b"},
        {"dead_letter": 0},
        {"dead_letter": b""},
        {"retry": (5,)},
        {"retry": None},
        {"max_messages": 0},
        {"max_messages": 2.0},
        {"max_messages": True},
        {"max_bytes": -5},
        {"overflow": "drop"},
    ],
    ids=str,
)
def test_policies_that_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        QueuePolicy(**setting)
