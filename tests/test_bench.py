"""The benchmark's own arithmetic: verdicts that can go either way, counts that must agree."""

from __future__ import annotations

import asyncio

import pytest

from bench.flow import Flow, pump, wait_us
from bench.machine import busy_warning
from bench.model import Contender, Job, Outcome, Row, Target, Unit
from bench.report import lines_of, markdown
from bench.rows import all_rows


async def _nothing(job: Job) -> float:
    return 0.0


OURS = Contender("ours", "", _nothing)
THEIRS = Contender("theirs", "", _nothing)


def _outcome(unit: Unit, ours: list[float], theirs: list[float], target: Target) -> Outcome:
    row = Row("X1", "work", unit, OURS, (target,))
    return Outcome(row, 1024, {"ours": ours, "theirs": theirs})


@pytest.mark.parametrize(
    ("ours", "result"), [(50.0, "met"), (49.0, "missed"), (24.0, "UNDER THE FLOOR")]
)
def test_a_rate_is_better_when_more(ours: float, result: str) -> None:
    target = Target(THEIRS, goal=0.5, floor=0.25)
    (line,) = lines_of(_outcome("messages/s", [1.0, ours, 1e9], [100.0], target))
    assert line.result == result
    assert line.ratio == f"{ours / 100:.2f}"


@pytest.mark.parametrize(("ours", "result"), [(80.0, "met"), (81.0, "missed")])
def test_a_wait_is_better_when_less(ours: float, result: str) -> None:
    (line,) = lines_of(_outcome("us", [ours], [100.0], Target(THEIRS, goal=0.8)))
    assert line.result == result


@pytest.mark.parametrize(("ours", "result"), [(6_000.0, "met"), (6_001.0, "missed")])
def test_a_limit_needs_no_reference(ours: float, result: str) -> None:
    (line,) = lines_of(_outcome("us", [ours], [], Target(None, goal=6_000.0)))
    assert line.result == result


def test_a_failure_is_no_result_and_is_listed() -> None:
    outcome = _outcome("us", [1.0], [], Target(THEIRS, goal=0.8))
    outcome.errors["theirs"] = "OSError: disk"
    (line,) = lines_of(outcome)
    assert line.result == "no result"
    assert "- X1, theirs: OSError: disk" in markdown([outcome], {"cores": "2"}, 1.0, 1)


def test_every_row_has_a_target_and_names_of_its_own() -> None:
    rows = all_rows()
    assert {row.family for row in rows} == {
        *("M1", "M2", "M3"),
        *("D1", "D2", "D3", "D4", "D5"),
        *("S1", "B1"),
    }
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        names = [contender.name for contender in row.contenders()]
        assert row.targets
        assert len(set(names)) == len(names)


async def test_pump_ends_when_the_consumer_has_it_all() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(3)

    async def produce(flow: Flow) -> None:
        for number in range(10):
            await queue.put(number)
            flow.sent += 1

    async def consume(flow: Flow) -> None:
        while flow.received != flow.expected:
            await queue.get()
            flow.received += 1

    assert await pump(1.0, produce, consume) > 0
    assert queue.empty()


async def test_pump_reports_a_lost_message() -> None:
    async def produce(flow: Flow) -> None:
        flow.sent += 2

    async def consume(flow: Flow) -> None:
        while flow.expected < 0:
            await asyncio.sleep(0)
        flow.received += 1

    with pytest.raises(RuntimeError, match="2 messages were put and 1 were got"):
        await pump(1.0, produce, consume)


async def test_a_starving_step_is_given_up_and_counts() -> None:
    assert await wait_us(0.005, asyncio.Event().wait) >= 15_000


def test_a_busy_machine_is_told_on_the_page() -> None:
    warning = busy_warning(1.1, 2)
    assert busy_warning(1.0, 2) is None
    assert warning is not None
    assert warning in markdown([], {"warning": warning, "cores": "2"}, 1.0, 1)
