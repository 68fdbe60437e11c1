"""The dedup window by itself, and what it carries on when the log lets go of its beginning."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from posthouse.core.dedup import DedupWindow
from posthouse.core.state import BrokerState
from posthouse.core.transaction import PutStep, commit, problem
from posthouse.errors import QueueFull
from posthouse.model import NANOSECONDS, QueuePolicy
from posthouse.records import Put, Traits

WINDOW_NS = 100


def test_known_within_the_window_and_not_after_it() -> None:
    window = DedupWindow(WINDOW_NS)
    window.remember("a", 1000)
    assert window.find("a", 1000 + WINDOW_NS - 1) == 1000
    assert window.knows("a", 1000 + WINDOW_NS - 1)
    assert not window.knows("a", 1000 + WINDOW_NS)
    assert window.find("a", 1000 + WINDOW_NS) == 0
    assert (window.hits, len(window)) == (1, 0)


def test_the_oldest_leave_when_there_are_too_many() -> None:
    window = DedupWindow(WINDOW_NS, most=2)
    for number, name in enumerate("abc", 1000):
        window.remember(name, number)
    assert [window.find(name, 1003) for name in "abc"] == [0, 1001, 1002]
    assert window.evicted == 1


def test_put_again_after_the_window_counts_from_then() -> None:
    window = DedupWindow(WINDOW_NS)
    window.remember("a", 1000)
    window.remember("b", 1050)
    window.remember("a", 1120)
    assert window.find("a", 1160) == 1120
    assert window.find("b", 1160) == 0


def test_ids_that_were_carried_on_are_old_all_the_same() -> None:
    window = DedupWindow(WINDOW_NS)
    window.remember("young", 1080)
    window.remember("carried", 1000)  # its record came later in the log
    window.replayed(1090)
    assert window.find("carried", 1099) == 1000
    assert window.carry(1050, 1090, 1099) == [("carried", 1000)]
    assert window.find("carried", 1100) == 0
    assert window.find("young", 1100) == 1080


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=80))
def test_a_log_that_loses_its_beginning_still_knows_every_id(steps: list[tuple[bool, int]]) -> None:
    """Puts and reclaims in any order: what the kept records tell is all that is young enough."""
    window = DedupWindow(1 << 40)
    log: list[tuple[int, list[tuple[str, int]]]] = []  # (last id when written, what it tells)
    first = last = 1000
    for reclaim, step in steps:
        if not reclaim:
            last += step
            window.remember(f"d{last}", last)
            log.append((last, [(f"d{last}", last)]))
        elif last > first:
            first = min(first + 3 * step, last)
            carried = window.carry(first, last, last)
            if carried:
                log.append((last, carried))
            log = [row for row in log if row[0] >= first]
            fresh = DedupWindow(1 << 40)
            for _, pairs in log:
                for name, number in pairs:
                    fresh.remember(name, number)
            fresh.replayed(last)
            for number in range(1000, last + 1):
                assert fresh.find(f"d{number}", last) == window.find(f"d{number}", last)


def test_in_a_transaction() -> None:
    state = BrokerState()
    queue, _ = state.declare("q", QueuePolicy(max_messages=1, overflow="reject"))
    step = PutStep(queue, 2, b"x", b"", Traits(dedup="a"))
    now_ns = 1_000 * NANOSECONDS
    records, _, ids = commit(state, [step], now_ns, 1, 1)
    assert isinstance(records[0], Put)
    # The queue is full; a put that adds nothing needs no room.
    assert problem([step], now_ns) is None
    again, _, same = commit(state, [step, step], now_ns, 1, 2)
    assert again == []
    assert same == ids * 2
    assert queue.live == 1
    late_ns = now_ns + 300 * NANOSECONDS
    assert isinstance(problem([step], late_ns), QueueFull)
