"""Opening, closing, the wrong thread, the wrong process, and what is left afterwards."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse import bodies as codecs
from posthouse import sync
from posthouse.errors import (
    AlreadyOpen,
    BadArgument,
    BrokerClosed,
    ForkedProcess,
    Unsupported,
    WrongLoop,
)
from tests.sync.helpers import PORTAL_THREAD, Running, bodies, nothing_left, python, under_way


def portal_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == PORTAL_THREAD]


# opening


def test_open_without_with(url: str) -> None:
    with nothing_left():
        broker = sync.open(url)
        broker.queue("q").put("a")
        broker.close()
        broker.close()
        assert broker.url == url
        assert "fenced" in broker.capabilities
        with pytest.raises(BrokerClosed):
            broker.__enter__()


def test_what_is_put_is_there_when_opened_again(tmp_path: Path) -> None:
    url = str(tmp_path / "data")
    with sync.open(url) as broker:
        broker.queue("q").put_many([1, 2])
        broker.queue("q").get()  # is given back at the close
    with sync.open(url) as broker:
        messages = broker.queue("q").get_many()
        assert [(message.body, message.attempts) for message in messages] == [(1, 1), (2, 1)]


def test_a_failed_opening_raises_and_leaves_nothing(tmp_path: Path) -> None:
    url = str(tmp_path / "data")
    with sync.open(url), nothing_left(), pytest.raises(AlreadyOpen):
        sync.open(url)
    with pytest.raises(BadArgument):
        sync.open("no-such-scheme:x")
    with pytest.raises(BadArgument):
        sync.open("memory:", no_such_option=1)
    with pytest.raises(Unsupported):
        sync.open("memory:", require={"durable"})
    assert not portal_threads()


# closing


def test_close_wakes_who_waits(url: str) -> None:
    broker = sync.open(url)
    empty, full = broker.queue("empty"), broker.queue("full", max_messages=1)
    full.put(1)
    waiting: list[Running[Any]] = [
        Running(empty.get),
        Running(lambda: empty.get_many(timeout=60)),
        Running(lambda: next(iter(empty))),
        Running(lambda: full.put(2)),
        Running(full.join),
    ]
    under_way(empty, len(waiting))
    broker.close()
    for each in waiting:
        with pytest.raises(BrokerClosed):
            each.result()


def test_use_after_close(url: str) -> None:
    with sync.open(url) as broker:
        queue = broker.queue("q")
        queue.put_many([1, 2])
        message, iterator, topic = queue.get(), iter(queue), broker.topic("t")
    verbs: list[Callable[[], Any]] = [
        lambda: broker.queue("q"),
        lambda: broker.queue_names(),
        lambda: queue.put(1),
        lambda: queue.get(),
        lambda: queue.qsize(),
        lambda: queue.policy,
        lambda: queue.find().page(),
        lambda: iter(queue),
        iterator.__next__,
        lambda: message.ack(),
        lambda: message.__enter__(),
        lambda: topic.publish("a"),
        lambda: broker.transaction().__enter__(),
    ]
    for verb in verbs:
        with pytest.raises(BrokerClosed):
            verb()
    assert message.body == 1  # what is here needs no loop


def test_two_threads_close(url: str) -> None:
    broker = sync.open(url)
    closing = [Running(broker.close) for _ in range(4)]
    for each in closing:
        each.result()
    assert not portal_threads()


def test_a_forgotten_broker_warns_and_ends() -> None:
    def forget() -> sync.Queue[Any]:
        return sync.open("memory:").queue("q")

    with nothing_left():
        queue = forget()
        queue.put("a")  # a handle keeps its broker
        message = queue.get()
        del queue
        message.ack()
        with pytest.warns(ResourceWarning, match="'memory:' was not closed"):
            del message


@pytest.mark.parametrize("forgotten", ["del broker, queue", "", "queue.put_nowait('b')"])
def test_a_process_leaves_with_its_broker_open(url: str, forgotten: str) -> None:
    code = f"""
import sys, posthouse.sync
broker = posthouse.sync.open(sys.argv[1])
queue = broker.queue("q")
queue.put("a")
queue.get()
{forgotten}
"""
    done = python(code, url)
    assert ("ResourceWarning" in done.stderr) == forgotten.startswith("del")
    assert "Traceback" not in done.stderr
    if url != "memory:":
        with sync.open(url) as broker:
            assert broker.queue("q").get().attempts == 1


def test_a_blocked_consumer_does_not_keep_a_process_that_closed(url: str) -> None:
    code = """
import sys, threading, posthouse.sync
with posthouse.sync.open(sys.argv[1]) as broker:
    queue = broker.queue("q")
    def consume():
        try:
            for message in queue:
                raise AssertionError
        except posthouse.BrokerClosed:
            print("told")
    begun = threading.Thread(target=consume)
    begun.start()
    other = threading.Thread(target=lambda: queue.get(), daemon=True)
    other.start()
"""
    done = python("import posthouse\n" + code, url)
    assert done.stdout == "told\n"


def test_a_blocked_daemon_thread_does_not_keep_a_process(url: str) -> None:
    code = """
import sys, threading, posthouse.sync
broker = posthouse.sync.open(sys.argv[1])
threading.excepthook = lambda args: None
threading.Thread(target=broker.queue("q").get, daemon=True).start()
"""
    python(code, url)


# the wrong thread


def test_the_loops_own_thread_is_refused(broker: sync.Broker) -> None:
    caught: list[BaseException] = []
    queue = broker.queue("q")

    def encode(body: object) -> bytes:
        for verb in (queue.qsize, queue.get, broker.close, lambda: queue.put("b")):
            try:
                verb()
            except WrongLoop as error:
                caught.append(error)
        return b""

    codecs.register("test/calls-back", encode, bytes.decode)
    broker.queue("q", codec="test/calls-back").put("a")
    assert len(caught) == 4
    assert "for ever" in str(caught[0])


async def test_wrap_on_the_loop() -> None:
    async with posthouse.open("memory:") as owned:
        face = sync.wrap(owned)
        queue = face.queue("q")
        for verb in (
            queue.qsize,
            queue.get,
            face.stats,
            lambda: queue.put("b"),
            lambda: iter(queue),
        ):
            with pytest.raises(WrongLoop):
                verb()
        with pytest.raises(WrongLoop), face:
            pass


# beside a running loop


async def test_wrap_serves_threads() -> None:
    async with posthouse.open("memory:") as owned:
        face = sync.wrap(owned)
        queue = face.queue("q", int)

        def work() -> list[int]:
            taken = []
            for message in queue:
                with message:
                    taken.append(message.body)
            return taken

        working = [asyncio.create_task(asyncio.to_thread(work)) for _ in range(3)]
        inside = owned.queue("q", int)
        await inside.put_many(range(100))
        await inside.join()
        inside.shutdown()
        taken = [body for each in await asyncio.gather(*working) for body in each]
        assert sorted(taken) == list(range(100))


async def test_closing_a_wrapped_face_leaves_the_broker_open() -> None:
    async with posthouse.open("memory:") as owned:
        face = sync.wrap(owned)
        queue = face.queue("q")
        waiting = asyncio.create_task(asyncio.to_thread(queue.get))
        while not vars(queue)["_portal"].calls.active:
            await asyncio.sleep(0)
        face.close()
        with pytest.raises(BrokerClosed):
            await waiting
        with pytest.raises(BrokerClosed):
            await asyncio.to_thread(queue.put, "a")
        other = sync.wrap(owned)
        await asyncio.to_thread(other.close)
        await owned.queue("q").put("a")
        assert (await owned.queue("q").get()).body == "a"


async def test_the_owner_closes() -> None:
    async with posthouse.open("memory:") as owned:
        queue = sync.wrap(owned).queue("q")
        waiting = asyncio.create_task(asyncio.to_thread(queue.get))
        while not vars(queue)["_portal"].calls.active:
            await asyncio.sleep(0)
    with pytest.raises(BrokerClosed):
        await waiting
    with pytest.raises(BrokerClosed):
        await asyncio.to_thread(queue.put, "a")


def test_a_loop_that_stops_or_ends_lets_nobody_hang() -> None:
    opened: list[sync.Queue[Any]] = []
    ready, again = threading.Event(), threading.Event()
    loop = asyncio.new_event_loop()

    async def main() -> None:
        broker = await posthouse.open("memory:")
        opened.append(sync.wrap(broker).queue("q"))

    def run() -> None:
        loop.run_until_complete(main())
        loop.call_soon(ready.set)
        loop.run_forever()
        again.wait()
        loop.call_soon(ready.set)
        loop.run_forever()
        loop.close()

    running = Running(run)
    ready.wait()
    (queue,) = opened
    waiting = Running(queue.get)
    under_way(queue, 1)
    loop.call_soon_threadsafe(loop.stop)
    with pytest.raises(BrokerClosed, match="loop has ended"):
        waiting.result()
    with pytest.raises(BrokerClosed, match="loop has ended"):
        queue.qsize()
    # It runs again: what was abandoned is cancelled, and takes nothing.
    ready.clear()
    again.set()
    ready.wait()
    queue.put("a")
    assert queue.get_nowait().body == "a"
    loop.call_soon_threadsafe(loop.stop)
    running.result()
    with pytest.raises(BrokerClosed, match="loop has ended"):
        queue.qsize()


def test_a_loop_that_cancels_all_tells_who_waits() -> None:
    opened: list[sync.Queue[Any]] = []
    ready, leave = threading.Event(), threading.Event()

    async def main() -> None:
        broker = await posthouse.open("memory:")
        opened.append(sync.wrap(broker).queue("q"))
        ready.set()
        await asyncio.to_thread(leave.wait)

    running = Running(lambda: asyncio.run(main()))
    ready.wait()
    waiting = Running(opened[0].get)
    under_way(opened[0], 1)
    leave.set()
    running.result()
    with pytest.raises(BrokerClosed, match="loop has ended"):
        waiting.result()


def test_an_iterator_outlives_its_loop() -> None:
    async def main() -> Iterator[Any]:
        async with posthouse.open("memory:") as broker:
            queue = sync.wrap(broker).queue("q")
            await queue.aio.put_many(range(10))
            iterator = await asyncio.to_thread(iter, queue)
            assert (await asyncio.to_thread(next, iterator)).body == 0
            return iterator  # with nine set aside

    iterator = asyncio.run(main())
    with pytest.raises(BrokerClosed):
        next(iterator)
    del iterator  # complains about nothing


def test_wrap_from_another_thread() -> None:
    ready, leave = threading.Event(), threading.Event()
    opened: list[Any] = []

    async def main() -> None:
        async with posthouse.open("memory:") as broker:
            opened.extend([broker, asyncio.get_running_loop()])
            ready.set()
            await asyncio.to_thread(leave.wait)

    running = Running(lambda: asyncio.run(main()))
    ready.wait()
    broker, loop = opened
    with pytest.raises(BadArgument, match="no event loop runs in this thread"):
        sync.wrap(broker)
    with sync.wrap(broker, loop) as face:
        face.queue("q").put("a")
        assert bodies(face.queue("q").get_many()) == ["a"]
        with pytest.raises(BadArgument, match="takes a posthouse.Broker"):
            sync.wrap(face)  # type: ignore[arg-type]
    leave.set()
    running.result()


async def test_the_wrong_loop_is_told() -> None:
    async with posthouse.open("memory:") as broker:

        def elsewhere() -> None:
            async def main() -> None:
                queue = sync.wrap(broker).queue("q")
                await asyncio.to_thread(queue.qsize)

            asyncio.run(main())

        with pytest.raises(WrongLoop):
            await asyncio.to_thread(elsewhere)


# the wrong process


def test_handles_stay_in_their_process(broker: sync.Broker, queue: sync.Queue[Any]) -> None:
    queue.put("a")
    handles = [
        broker,
        queue,
        queue.get(),
        queue.find(),
        broker.topic("t"),
        broker.transaction(),
        queue.put_nowait("b"),
        iter(queue),
    ]
    for handle in handles:
        for refused in (pickle.dumps, copy.deepcopy):
            with pytest.raises(BadArgument, match="open it in the child"):
                refused(handle)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_refused(url: str) -> None:
    code = """
import gc, os, sys, warnings
import posthouse, posthouse.sync
warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork beside threads
with posthouse.sync.open(sys.argv[1]) as broker:
    queue = broker.queue("q")
    queue.put_many([1, 2])
    message = queue.get()
    iterator = iter(queue)
    child = os.fork()
    if child == 0:
        for verb in (queue.qsize, queue.get, message.ack, lambda: broker.queue("q"),
                     lambda: next(iterator), lambda: broker.transaction().__enter__()):
            try:
                verb()
            except posthouse.ForkedProcess as error:
                assert "open the broker in the child" in str(error)
            else:
                raise SystemExit(f"{verb} was not refused")
        del iterator, queue, message
        gc.collect()
        sys.exit(7)  # through the with block, and atexit
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7, status
    message.ack()
    assert queue.get().body == 2
print("parent is well")
"""
    done = python(code, url)
    assert done.stdout == "parent is well\n"
    assert "Traceback" not in done.stderr, done.stderr
    assert ForkedProcess.__doc__


def test_a_loop_thread_is_a_daemon_with_a_name() -> None:
    with sync.open("memory:"):
        (thread,) = portal_threads()
        assert thread.daemon
        if "uvloop" in sys.modules:
            import uvloop

            with sync.open("memory:") as broker:
                loop = vars(broker)["_portal"].calls.loop
                assert isinstance(loop, uvloop.Loop)
