"""How the contract's tests bear a slow machine: `posthouse.testing.cases.base.within`."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from posthouse.errors import LeaseExpired
from posthouse.testing.cases import base
from posthouse.testing.cases.base import SHORT_S, TRIES, Late, in_time, within


class Machine:
    """A clock that goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 100.0
        monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: self.now_s))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize("error", [AssertionError, LeaseExpired, TimeoutError])
def test_what_was_wrong_in_time_is_wrong(machine: Machine, error: type[Exception]) -> None:
    with pytest.raises(error), within(1.0):
        machine.now_s += 0.99
        raise error("wrong")


def test_what_was_wrong_too_late_says_nothing(machine: Machine) -> None:
    with pytest.raises(Late), within(1.0):
        machine.now_s += 1.0
        raise LeaseExpired("late")
    with within(1.0):
        machine.now_s += 5.0  # late, and right all the same
    with pytest.raises(KeyError), within(1.0):
        machine.now_s += 5.0
        raise KeyError("of another kind")


async def test_a_slow_machine_gets_more_time(machine: Machine) -> None:
    tried: list[tuple[str, float]] = []

    async def test(name: str, most_s: float) -> None:
        tried.append((name, most_s))
        with within(most_s):
            machine.now_s += 3 * SHORT_S
            if most_s <= 3 * SHORT_S:
                raise LeaseExpired("late")

    await in_time(test)
    assert tried == [("q0", SHORT_S), ("q1", 2 * SHORT_S), ("q2", 4 * SHORT_S)]


async def test_a_broker_that_is_wrong_gets_one_try(machine: Machine) -> None:
    tried: list[str] = []

    async def test(name: str, most_s: float) -> None:
        tried.append(name)
        with within(most_s):
            raise LeaseExpired("at once")

    with pytest.raises(LeaseExpired):
        await in_time(test)
    assert tried == ["q0"]


async def test_it_ends(machine: Machine) -> None:
    tried: list[str] = []

    async def test(name: str, most_s: float) -> None:
        tried.append(name)
        with within(most_s):
            machine.now_s += 2 * most_s
            raise AssertionError("late")

    with pytest.raises(AssertionError, match="slower"):
        await in_time(test)
    assert len(tried) == TRIES
