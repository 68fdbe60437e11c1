"""The writer's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from unittest import mock

import pytest

from posthouse.journal.writer import ThreadWriter


async def test_jobs_run_in_order_off_the_loop_and_tell_on_it() -> None:
    loop = asyncio.get_running_loop()
    writer = ThreadWriter(loop)
    ran: list[tuple[int, bool]] = []
    told: list[tuple[object, object, bool]] = []
    finished = loop.create_future()
    here = threading.get_ident()

    def job(number: int) -> int:
        ran.append((number, threading.get_ident() != here))
        if number == 3:
            raise OSError("third")
        return number * 10

    def done(result: int | None, error: BaseException | None) -> None:
        told.append((result, str(error), threading.get_ident() == here))
        if len(told) == 5:
            finished.set_result(None)

    for number in range(5):
        writer.submit(lambda number=number: job(number), done)  # type: ignore[misc]
    await finished
    writer.close(10)
    assert ran == [(number, True) for number in range(5)]
    assert told == [
        (0, "None", True),
        (10, "None", True),
        (20, "None", True),
        (None, "third", True),
        (40, "None", True),
    ]


def test_work_is_finished_when_the_loop_is_closed() -> None:
    loop = asyncio.new_event_loop()
    writer = ThreadWriter(loop)
    started, go_on = threading.Event(), threading.Event()
    done: list[str] = []

    def slow() -> None:
        started.set()
        assert go_on.wait(30)
        done.append("slow")

    writer.submit(slow, lambda result, error: done.append("told"))
    writer.submit(lambda: done.append("after"), lambda result, error: done.append("told"))
    assert started.wait(30)
    loop.close()
    go_on.set()
    writer.close(30)
    assert done == ["slow", "after"]


def test_closing_does_not_wait_longer_than_it_may() -> None:
    loop = asyncio.new_event_loop()
    writer = ThreadWriter(loop)
    go_on = threading.Event()
    writer.submit(lambda: go_on.wait(30), lambda result, error: None)
    writer.close(0.01)
    go_on.set()
    writer.close(30)
    loop.close()


def is_idle(writer: ThreadWriter) -> bool:
    return writer.idle


class FakeLoop:
    """What the writer asks of a loop: ``call_later``, due when it is fired, and the way back."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.told: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def call_later(self, delay_s: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        timer = (delay_s, call)
        self.timers.append(timer)
        handle = mock.Mock(spec=asyncio.TimerHandle)
        handle.cancel.side_effect = lambda: self.timers.remove(timer)
        return handle

    def call_soon_threadsafe(self, call: Callable[..., None], *args: object) -> None:
        self.told.put(partial(call, *args))

    def fire(self) -> float:
        """Call what is due next; after how many seconds it would have been."""
        delay_s, call = self.timers.pop(0)
        call()
        return delay_s


@pytest.fixture
def stood_back(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the loop stood back, each time, seconds."""
    seconds: list[float] = []
    monkeypatch.setattr("posthouse.journal.writer.stand_back", seconds.append)
    return seconds


def test_the_loop_stands_back_while_a_job_is_late(stood_back: list[float]) -> None:
    loop = FakeLoop()
    writer = ThreadWriter(loop)  # type: ignore[arg-type]
    go_on = threading.Event()
    done: list[object] = []
    assert is_idle(writer)
    writer.submit(lambda: go_on.wait(30), lambda result, error: done.append(result))
    assert not is_idle(writer)
    assert len(loop.timers) == 1  # one timer, however many jobs
    writer.submit(lambda: "second", lambda result, error: done.append(result))
    assert len(loop.timers) == 1
    patience_s = loop.fire()
    for _ in range(3):
        assert loop.fire() < patience_s  # once late, more often
    assert len(stood_back) == 4
    assert all(0 < seconds < 0.001 for seconds in stood_back)
    go_on.set()
    for _ in range(2):
        loop.told.get(timeout=30)()
    assert done == [True, "second"]
    assert is_idle(writer)
    loop.fire()
    assert len(stood_back) == 4
    assert loop.timers == []
    writer.close(30)


def test_it_does_not_stand_back_for_a_job_that_is_not_late(stood_back: list[float]) -> None:
    loop = FakeLoop()
    writer = ThreadWriter(loop)  # type: ignore[arg-type]
    for number in range(3):
        writer.submit(lambda: None, lambda result, error: None)
        loop.told.get(timeout=30)()
        assert is_idle(writer)
        assert len(loop.timers) == 1, number  # one timer serves many jobs
    loop.fire()
    assert stood_back == []
    assert loop.timers == []
    # And the next job is watched again.
    writer.submit(lambda: None, lambda result, error: None)
    assert len(loop.timers) == 1
    loop.told.get(timeout=30)()
    writer.close(30)
    assert loop.timers == []


@pytest.fixture(autouse=True)
def _no_threads_left() -> object:
    yield
    for thread in threading.enumerate():
        if thread.name == "posthouse-writer":
            thread.join(10)
            assert not thread.is_alive()
