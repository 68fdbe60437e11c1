"""The history's judge finds every kind of broken promise, and no other.

Each planted history breaks one promise; its twin without the flaw must pass.
"""

from __future__ import annotations

import pytest

from posthouse.errors import BadArgument
from posthouse.testing.history import History
from tests.lab.history import deliveries, keys, operations, places, promises, rates
from tests.lab.history.run import BROKEN, DEAD, FINE, POLICIES, A, B, Q, Run

PLANTED = (promises, deliveries, keys, operations, places, rates)


def test_there_are_histories_of_all_kinds() -> None:
    names = {script.__module__ for script in [*FINE.values(), *(s for _, s in BROKEN.values())]}
    assert names == {module.__name__ for module in PLANTED}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_promise_is_found(name: str) -> None:
    what, script = BROKEN[name]
    run = Run()
    script(run)
    complaints = run.complaints()
    assert any(what in complaint for complaint in complaints), complaints
    again = History.from_text(run.to_text())
    assert again.problems(max_attempts={Q: 3}, dead={Q: DEAD}, **POLICIES) == complaints


@pytest.mark.parametrize("name", sorted(FINE))
def test_a_kept_promise_is_left_alone(name: str) -> None:
    run = Run()
    FINE[name](run)
    dead = None if name.startswith("dead_letters_are_dropped") else DEAD
    assert run.complaints(dead=dead) == []


def test_too_many_in_flight_are_seen() -> None:
    run = Run()
    run.put("a", A)
    run.put("b", B)
    run.got("a", A, 1, lease_s=5.0)
    run.got("b", B, 2, lease_s=5.0)
    assert "the limit is 1" in run.problems(max_in_flight={Q: 1})[0]
    assert run.problems(max_in_flight={Q: 2}) == []


def test_leases_that_last_need_no_time() -> None:
    run = History()
    run.put_started(Q, ["a", "b"], key="k").done([A, B])
    run.delivered(Q, A, "a", 1, 1)
    run.delivered(Q, B, "b", 2, 1)
    assert run.problems() == []
    assert "of its key was held" in run.problems(leases_last=True)[0]
    run.delivered(Q, A, "a", 3, 2)
    assert any("has two holders" in text for text in run.problems(leases_last=True))


def test_so_many_of_a_key_may_be_held() -> None:
    run = Run()
    run.put_started(Q, ["a", "b"], key="k").done([A, B])
    run.got("a", A, 1, lease_s=5.0)
    run.got("b", B, 2, lease_s=5.0)
    assert run.problems(max_in_flight_per_key={Q: 2}) == []
    assert "of its key was held" in run.problems(max_in_flight_per_key={Q: 1})[0]


def test_a_rate_that_is_none_is_refused() -> None:
    run = Run()
    run.put("a", A)
    run.got("a", A, 1)
    with pytest.raises(BadArgument, match="a rate is written like"):
        run.problems(rate={Q: "fast"})


def test_an_operation_ends_once() -> None:
    run = Run()
    operation = run.put_started(Q, ["a"])
    operation.done([A])
    with pytest.raises(BadArgument):
        operation.failed("again")


def test_a_text_that_is_no_history_is_refused() -> None:
    with pytest.raises(BadArgument, match="line 2"):
        History.from_text('{"event":"restarted","kind":"kill"}\nnonsense\n')


def test_a_history_read_back_goes_on() -> None:
    run = Run()
    run.put("a", A)
    again = History.from_text(run.to_text())
    again.put_started(Q, ["b"]).done([B])
    again.remaining(Q, [(A, "a", 0), (B, "b", 0)])
    assert again.problems() == []
