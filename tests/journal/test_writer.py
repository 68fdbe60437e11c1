"""The writer's thread."""

from __future__ import annotations

import asyncio
import threading

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


@pytest.fixture(autouse=True)
def _no_threads_left() -> object:
    yield
    for thread in threading.enumerate():
        if thread.name == "posthouse-writer":
            thread.join(10)
            assert not thread.is_alive()
