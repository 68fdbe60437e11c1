"""Lines of keys by themselves."""

from __future__ import annotations

from posthouse.core.keys import KeyLines
from posthouse.records import Entry, Traits


def entry(rank: int, key: str = "a") -> Entry:
    return (rank, 2, b"", b"", Traits(key=key))


def test_one_stands_and_the_others_wait() -> None:
    keys = KeyLines(1, None, fair=False)
    assert keys.join("a", entry(1))
    assert not keys.join("a", entry(2))
    assert keys.join("b", entry(3, "b"))
    assert keys.lined == 1
    keys.taken("a", 1, 0)
    assert keys.next_of("a") is None, "one is held"
    keys.left("a")
    assert keys.next_of("a") == entry(2)
    assert keys.lined == 0


def test_a_key_without_messages_is_forgotten() -> None:
    keys = KeyLines(1, None, fair=False)
    keys.join("a", entry(1))
    keys.taken("a", 1, 0)
    keys.left("a")
    assert keys.next_of("a") is None
    assert len(keys) == 0


def test_a_key_with_a_rate_is_forgotten_when_its_rate_is_free() -> None:
    keys = KeyLines(1, "1/s", fair=False)
    keys.join("a", entry(1))
    keys.taken("a", 1, 10**9)
    keys.left("a")
    keys.next_of("a")
    assert keys.free_ns("a") == 2 * 10**9
    keys.forget_idle(2 * 10**9 - 1)
    assert len(keys) == 1
    keys.forget_idle(2 * 10**9)
    assert len(keys) == 0
    assert keys.free_ns("a") == 0


def test_a_limit_above_one() -> None:
    keys = KeyLines(2, None, fair=False)
    for rank in (1, 2, 3):
        keys.join("a", entry(rank))
    keys.taken("a", 1, 0)
    assert keys.next_of("a") == entry(2)
    keys.taken("a", 2, 0)
    assert keys.next_of("a") is None
    keys.returned("a", 1)
    assert keys.next_of("a") is None, "who came back stands, nobody else has to"
    keys.taken("a", 1, 0)
    keys.left("a")
    assert keys.next_of("a") == entry(3)


def test_nothing_lines_up_where_nothing_asks_for_it() -> None:
    keys = KeyLines(None, None, fair=False)
    assert all(keys.join("a", entry(rank)) for rank in range(1, 100))
    assert keys.lined == 0


def test_what_is_in_a_line_can_leave_it() -> None:
    keys = KeyLines(1, None, fair=False)
    for rank in (1, 2, 3, 4):
        keys.join("a", entry(rank))
    keys.discard({2, 4})
    assert keys.entries() == [entry(3)]
    assert keys.lined == 1
    keys.gone("a", 1)
    assert keys.next_of("a") == entry(3)


def test_new_settings_keep_what_is_held() -> None:
    keys = KeyLines(None, None, fair=False)
    keys.join("a", entry(1))
    keys.taken("a", 1, 0)
    assert keys.reset(1, None, fair=False) == []
    assert not keys.join("a", entry(2)), "one of its key is out already"
    assert keys.reset(2, None, fair=False) == [entry(2)]
    assert keys.join("a", entry(2))


def test_the_turn_of_those_without_a_key_has_no_limit() -> None:
    keys = KeyLines(1, "1/s", fair=True)
    assert keys.join("", entry(1, ""))
    assert not keys.join("", entry(2, ""))
    keys.taken("", 1, 0)
    assert keys.next_of("") == entry(2, "")
    assert keys.free_ns("") == 0
