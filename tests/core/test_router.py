"""Topics' patterns, against a regular expression."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthouse.core.router import Router, check_pattern, matches
from posthouse.errors import BadArgument

words = st.sampled_from(["a", "b", "", "eu"])
keys = st.lists(words, min_size=1, max_size=5).map(".".join)
patterns = st.lists(
    st.sampled_from(["a", "b", "eu", "*", "#", "#", ""]), min_size=1, max_size=6
).map(".".join)


def oracle(pattern: str, key: str) -> bool:
    """Every word written with a dot after it: then ``#`` is ``(word.)*``."""
    parts = {"*": r"[^.]*\.", "#": r"(?:[^.]*\.)*"}
    expression = "".join(parts.get(word, re.escape(word) + r"\.") for word in pattern.split("."))
    return re.fullmatch(expression, key + "." if key else "") is not None


@given(patterns, keys)
@example("#", "")
@example("*", "")
@example("#.#", "a")
@example("a.#", "a")
@example("#.a", "b.a")
@example("*.*", ".")
def test_patterns(pattern: str, key: str) -> None:
    router = Router()
    router.bind("t", 1, pattern)
    assert router.route("t", key) == ([1] if oracle(pattern, key) else [])


def test_many_wildcards_cost_no_more_than_both_lengths() -> None:
    pattern, key = ["#", "a"] * 60, ["a"] * 120 + ["b"]
    begun = time.process_time()
    assert not matches(pattern, key)
    # A backtracking matcher would take longer than the universe has existed.
    assert time.process_time() - begun < 30


@pytest.mark.parametrize("pattern", ["", "a*", "#a", "a.b*", "**", "x" * 251, None, 5, "\ud800"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(BadArgument):
        check_pattern(pattern)


def test_bindings() -> None:
    router = Router()
    assert router.bind("t", 2, "a.*")
    assert not router.bind("t", 2, "a.*")
    assert router.bind("t", 2, "#")
    assert router.bind("t", 1, "a.b")
    assert router.bind("u", 3, "#")
    assert router.route("t", "a.b") == [1, 2], "each queue once"
    assert router.route("t", "c") == [2]
    assert router.route("v", "a.b") == []
    assert router.bindings() == [("t", 1, "a.b"), ("t", 2, "#"), ("t", 2, "a.*"), ("u", 3, "#")]
    assert router.unbind("t", 2, "#")
    assert not router.unbind("t", 2, "#")
    assert not router.unbind("nobody", 2, "#")
    assert router.route("t", "c") == []
    assert router.bindings("u") == [("u", 3, "#")]


def test_what_is_remembered_is_bounded_and_never_stale() -> None:
    router = Router()
    router.bind("t", 1, "a.*")
    for number in range(3000):
        assert router.route("t", f"a.{number}") == [1]
    router.bind("t", 2, "a.7")
    assert router.route("t", "a.7") == [1, 2]
