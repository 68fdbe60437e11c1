"""What docs/moving.md says is different, shown: the standard library's side and ours."""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import queue as threads
import re
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

import posthouse
from posthouse import sync
from posthouse.errors import AlreadySettled, BadArgument, BodyError, MessageTooLarge, QueueShutDown
from tests.sync.helpers import PATIENCE_S, Running, bodies, python, under_way

PAGE = Path(__file__).parents[2] / "docs" / "moving.md"


def test_every_line_of_the_page_is_shown_here() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("## What is different")[2]
    named = re.findall(r"\| `([a-z_]+)` \|$", table, re.MULTILINE)
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    assert len(named) == len(lines) - 1  # less the head
    shown = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(named) == shown - {"every_line_of_the_page_is_shown_here"}


def test_bodies_are_values(broker: sync.Broker) -> None:
    item = ("tea", [1, 2])
    theirs: threads.Queue[Any] = threads.Queue()
    theirs.put(item)
    assert theirs.get() is item

    ours = broker.queue("q")
    for body, comes_out in (
        (item, ["tea", [1, 2]]),
        (b"raw", b"raw"),
        ("text", "text"),
        (None, None),
    ):
        ours.put(body)
        with ours.get() as message:
            assert message.body == comes_out

    class Order(msgspec.Struct):
        sku: str

    typed = broker.queue("typed", Order)
    order = Order("tea")
    typed.put(order)
    with typed.get() as message:
        assert message.body == order
        assert message.body is not order


def test_what_cannot_be_encoded_is_refused_at_once(queue: sync.Queue[Any]) -> None:
    theirs: threads.Queue[Any] = threads.Queue()
    theirs.put(threading.Lock())
    for body in (threading.Lock(), lambda: None, object()):
        with pytest.raises(BodyError):
            queue.put(body)
    with pytest.raises(MessageTooLarge):
        queue.put(bytes(16 * 1024 * 1024 + 1))
    assert queue.empty()
    # multiprocessing tells nobody but stderr: the item is gone.
    code = """
import multiprocessing, threading
queue = multiprocessing.get_context("spawn").Queue()
queue.put(threading.Lock())
queue.put("next")
assert queue.get() == "next"
"""
    assert "cannot pickle '_thread.lock'" in python(code).stderr


def test_a_name_is_one_queue(broker: sync.Broker) -> None:
    one, two = broker.queue("q", max_messages=3), broker.queue("q")
    one.put("a")
    assert two.get().body == "a"
    assert two.policy.max_messages == 3


def test_what_is_not_acked_comes_back(queue: sync.Queue[Any]) -> None:
    queue.put("a")
    queue.get(visibility_timeout=0.001)  # and forgotten
    again = queue.get(timeout=PATIENCE_S)
    assert (again.body, again.attempts) == ("a", 2)


def test_ack_is_the_messages_own(queue: sync.Queue[Any]) -> None:
    theirs: threads.Queue[Any] = threads.Queue()
    with pytest.raises(ValueError, match="too many times"):
        theirs.task_done()
    queue.put_many([1, 2])
    one, two = queue.get_many(2)
    one.ack()
    one.ack()
    assert queue.stats().acked == 1
    two.nack(0)
    with pytest.raises(AlreadySettled):
        two.ack()


def test_join_waits_for_retries(queue: sync.Queue[Any]) -> None:
    queue.put("a")
    queue.get().nack(0.02)
    joining = Running(queue.join)
    under_way(queue, 1)
    assert queue.stats().delayed == 1
    again = queue.get()
    assert joining.thread.is_alive()
    again.ack()
    joining.result()


def test_an_ack_makes_room(broker: sync.Broker) -> None:
    theirs: threads.Queue[Any] = threads.Queue(maxsize=1)
    theirs.put(1)
    theirs.get()
    theirs.put_nowait(2)

    ours = broker.queue("q", max_messages=1)
    ours.put(1)
    message = ours.get()
    assert ours.full()
    with pytest.raises(asyncio.QueueFull):
        ours.put_nowait(2)
    message.ack()
    ours.put_nowait(2).wait()


def test_shutdown_ends_every_consumer(queue: sync.Queue[Any]) -> None:
    queue.put(None)
    with queue.get() as message:
        assert message.body is None
    consuming = [Running(lambda: bodies(list(queue))) for _ in range(3)]
    queue.put_many([1, 2, 3])
    queue.shutdown()
    seen = [body for each in consuming for body in each.result()]
    assert sorted(seen) == [1, 2, 3]
    with pytest.raises(QueueShutDown):
        queue.get()
    with pytest.raises(QueueShutDown):
        queue.put(4)


def test_shutdown_drops_nothing(tmp_path: Path) -> None:
    url = str(tmp_path / "data")
    with sync.open(url) as broker:
        queue = broker.queue("q")
        queue.put_many([1, 2])
        queue.shutdown(immediate=True)
        with pytest.raises(QueueShutDown):
            queue.get()
    with sync.open(url) as broker:
        assert bodies(broker.queue("q").get_many()) == [1, 2]


def test_order_after_a_retry(queue: sync.Queue[Any]) -> None:
    queue.put_many([1, 2, 3])
    queue.get().nack(0.02)
    with queue.get() as message:
        assert message.body == 2
    queue.get().give_back()
    with queue.get() as message:
        assert message.body == 3
    with queue.get() as message:
        assert (message.body, message.attempts) == (1, 2)
    queue.put_many([4, 5])
    queue.get().give_back()
    assert bodies(queue.get_many()) == [4, 5]


def test_lifo(broker: sync.Broker) -> None:
    theirs: threads.LifoQueue[int] = threads.LifoQueue()
    ours = broker.queue("q", int, order="lifo")
    for number in range(4):
        theirs.put(number)
        ours.put(number)
    assert [theirs.get() for _ in range(4)] == bodies(ours.get_many()) == [3, 2, 1, 0]


def test_priority(broker: sync.Broker) -> None:
    theirs: threads.PriorityQueue[Any] = threads.PriorityQueue()
    for item in ((2, "b"), (1, "c"), (9, "a")):
        theirs.put(item)
    assert [theirs.get()[1] for _ in range(3)] == ["c", "b", "a"]
    theirs.put((1, {"b": 1}))
    with pytest.raises(TypeError):
        theirs.put((1, {"b": 2}))  # compared

    ours = broker.queue("q", order="priority")
    for priority, body in ((2, {"b": 1}), (1, {"c": 1}), (9, {"a": 1}), (2, {"b": 2})):
        ours.put(body, priority=priority)
    assert bodies(ours.get_many()) == [{"a": 1}, {"b": 1}, {"b": 2}, {"c": 1}]
    with pytest.raises(BadArgument):
        ours.put("x", priority=256)


def test_empty_is_not_the_end(queue: sync.Queue[Any]) -> None:
    queue.put("a")
    message = queue.get()
    assert queue.empty()
    assert queue.qsize() == 0
    message.give_back()
    assert not queue.empty()


def test_timeouts_are_timeout_errors(broker: sync.Broker) -> None:
    theirs: threads.Queue[Any] = threads.Queue(maxsize=1)
    with pytest.raises(threads.Empty):
        theirs.get(timeout=0.001)
    ours = broker.queue("q", max_messages=1)
    with pytest.raises(TimeoutError):
        ours.get(timeout=0.001)
    with pytest.raises(asyncio.QueueEmpty):
        ours.get_nowait()
    ours.put(1)
    with pytest.raises(TimeoutError):
        ours.put(2, timeout=0.001)
    with pytest.raises(asyncio.QueueFull):
        ours.put_nowait(2)
    assert not issubclass(TimeoutError, threads.Empty | threads.Full)
    assert not issubclass(asyncio.QueueEmpty, threads.Empty)


def test_arguments_are_named(queue: sync.Queue[Any]) -> None:
    with pytest.raises(TypeError):
        queue.get(True, 5)  # type: ignore[call-arg, arg-type]
    with pytest.raises(TypeError):
        queue.put("a", True)  # type: ignore[call-arg]
    assert queue.empty()


def test_put_returns_an_id(queue: sync.Queue[Any]) -> None:
    theirs: threads.Queue[Any] = threads.Queue()
    assert theirs.put("a") is None  # type: ignore[func-returns-value]
    ids = [queue.put("a"), queue.put_nowait("b").wait()]
    assert [message.id for message in queue.get_many()] == ids


@pytest.mark.parametrize("turns", range(1, 8))
async def test_a_cancelled_get_takes_nothing(turns: int) -> None:
    async with posthouse.open("memory:") as broker:
        queue = broker.queue("q")
        getting = asyncio.create_task(asyncio.wait_for(queue.get(), 60))
        for _ in range(turns):
            await asyncio.sleep(0)
        await queue.put("a")  # it is woken, and cancelled in the same moment
        getting.cancel()
        try:
            message = await getting
        except asyncio.CancelledError:
            message = await queue.get()
        assert message.body == "a"
        assert (await queue.stats()).in_flight == 1


def test_what_a_dead_process_held_comes_back(tmp_path: Path) -> None:
    url = str(tmp_path / "data")
    code = """
import os, sys, posthouse.sync
broker = posthouse.sync.open(sys.argv[1])
queue = broker.queue("q")
queue.put("a")
queue.get()
os._exit(9)
"""
    assert python(code, url, check=False).returncode == 9
    with sync.open(url) as broker:
        message = broker.queue("q").get(timeout=PATIENCE_S)
        assert (message.body, message.attempts) == ("a", 2)


def test_handles_are_not_passed_on(queue: sync.Queue[Any]) -> None:
    theirs = multiprocessing.get_context("spawn").Queue()
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(theirs)
    theirs.close()
    with pytest.raises(BadArgument, match="pass the URL"):
        pickle.dumps(queue)
