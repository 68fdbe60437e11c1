"""Closed brokers, other loops, other threads, forked children."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

import posthouse
from posthouse.broker import Broker
from posthouse.errors import BadArgument, BrokerClosed, Unsupported, WrongLoop
from posthouse.message import Message
from posthouse.model import CAPABILITIES
from posthouse.queue import Queue
from posthouse.testing.cases.base import PATIENCE_S, Cases, soon, take, turns

Verb = Callable[[], Awaitable[Any]]


def _verbs(broker: Broker, queue: Queue[Any], message: Message[Any]) -> dict[str, Verb]:
    """Every call that reaches the broker; each as something to await."""

    async def plain(call: Callable[[], Any]) -> Any:
        return call()

    async def transaction() -> None:
        async with broker.transaction() as tx:
            tx.put(queue, 1)

    return {
        "put": lambda: queue.put(1),
        "put with headers": lambda: queue.put(1, headers={"a": "b"}),
        "put_many": lambda: queue.put_many([1, 2]),
        "put_nowait": lambda: plain(lambda: queue.put_nowait(1)),
        "get": lambda: queue.get(),
        "get with timeout": lambda: queue.get(timeout=PATIENCE_S),
        "get_many": lambda: queue.get_many(),
        "get_nowait": lambda: plain(queue.get_nowait),
        "async for": lambda: anext(aiter(queue)),
        "ack": lambda: message.ack(),
        "ack_many": lambda: queue.ack_many([message]),
        "nack": lambda: message.nack(delay=0),
        "reject": lambda: message.reject(),
        "give_back": lambda: message.give_back(),
        "extend": lambda: message.extend(10),
        "purge": lambda: queue.purge(),
        "join": lambda: queue.join(),
        "peek": lambda: queue.peek(),
        "stats": lambda: queue.stats(),
        "transaction": lambda: transaction(),
        "broker.queue": lambda: plain(lambda: broker.queue("q")),
        "broker.queue, new": lambda: plain(lambda: broker.queue("new")),
        "broker.queue, policy": lambda: plain(lambda: broker.queue("q", max_messages=9)),
        "broker.stats": lambda: broker.stats(),
        "broker.queue_names": lambda: broker.queue_names(),
    }


VERBS: Final = list(_verbs(None, Queue("q", None, None), None))  # type: ignore[arg-type]
LOOP_VERBS: Final = [
    verb for verb in VERBS if verb not in ("peek", "stats") and not verb.startswith("broker.")
]

_FORK: Final = """
import asyncio, os, sys
import posthouse

async def main():
    async with posthouse.open(sys.argv[1]) as broker:
        queue = broker.queue("q", max_messages=50)
        await queue.put_many([1, 2, 3])
        message = await queue.get()
        child = os.fork()
        if not child:
            code = 1
            try:
                await refused(broker, queue, message)
                code = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child failed"
        await message.ack()
        assert [m.body for m in await queue.get_many()] == [2, 3]
        await queue.put(4)
        assert (await queue.get()).body == 4
    print("parent is well")

async def refused(broker, queue, message):
    async def transaction():
        async with broker.transaction() as tx:
            tx.put(queue, 5)
    async def nowait():
        queue.put_nowait(5)
    for verb in (queue.put(5), queue.put_many([5]), nowait(), queue.get(), queue.get_many(),
                 message.ack(), message.nack(), message.reject(), message.give_back(),
                 message.extend(5), queue.ack_many([message]), queue.purge(), queue.join(),
                 transaction(), anext(aiter(queue))):
        try:
            await verb
        except posthouse.ForkedProcess:
            continue
        raise AssertionError(f"{verb} was not refused")

asyncio.run(main())
"""


class LifetimeCases(Cases):
    """A handle works on its loop, in its process, until its broker closes."""

    async def test_closing_twice(self, broker: Broker) -> None:
        await broker.close()
        await broker.close()

    @pytest.mark.parametrize("verb", VERBS)
    async def test_use_after_close(self, broker: Broker, verb: str) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        message = await take(queue)
        await broker.close()
        with pytest.raises(BrokerClosed):
            await soon(_verbs(broker, queue, message)[verb]())

    async def test_close_tells_who_waits(self, broker: Broker) -> None:
        empty, full = broker.queue("empty"), broker.queue("full", max_messages=1)
        await full.put(1)
        waiting: list[asyncio.Task[Any]] = [
            asyncio.create_task(empty.get()),
            asyncio.create_task(empty.get_many(timeout=PATIENCE_S)),
            asyncio.create_task(full.put(2)),
            asyncio.create_task(full.join()),
        ]
        await turns()
        await broker.close()
        for task in waiting:
            with pytest.raises(BrokerClosed):
                await soon(task)

    async def test_puts_under_way_at_close(self, broker: Broker) -> None:
        queue = broker.queue("q")
        putting = [asyncio.create_task(queue.put(number)) for number in range(10)]
        await turns(1)
        await broker.close()
        ids = [await soon(task) for task in putting]
        assert ids == sorted(set(ids))

    async def test_a_broker_is_opened_once(self, broker: Broker) -> None:
        with pytest.raises(BrokerClosed):
            await broker
        await broker.close()
        with pytest.raises(BrokerClosed):
            async with broker:
                pass

    async def test_before_it_is_open(self, broker: Broker) -> None:
        await broker.close()
        unopened = posthouse.open(broker.url)
        with pytest.raises(BrokerClosed):
            unopened.queue("q")
        with pytest.raises(BrokerClosed):
            await unopened.stats()
        await unopened.close()

    async def test_capabilities(self, broker: Broker) -> None:
        assert broker.capabilities <= CAPABILITIES
        posthouse.open(broker.url, require=broker.capabilities)
        lacking = CAPABILITIES - broker.capabilities
        for capability in lacking:
            with pytest.raises(Unsupported, match=capability):
                posthouse.open(broker.url, require={capability})
        with pytest.raises(BadArgument):
            posthouse.open(broker.url, require={"miracles"})
        with pytest.raises(BadArgument):
            posthouse.open(broker.url, no_such_option=1)

    @pytest.mark.parametrize("verb", LOOP_VERBS)
    async def test_another_threads_loop(self, broker: Broker, verb: str) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        message = await take(queue)
        before = await queue.stats()

        async def use() -> None:
            await soon(_verbs(broker, queue, message)[verb]())

        with pytest.raises(WrongLoop):
            await asyncio.to_thread(lambda: asyncio.run(use()))
        after = await queue.stats()
        assert (after.waiting, after.in_flight) == (before.waiting, before.in_flight)
        await message.ack()

    @pytest.mark.parametrize("verb", LOOP_VERBS)
    @pytest.mark.parametrize("waiting", [0, 2])
    def test_another_run_of_the_same_thread(self, verb: str, waiting: int) -> None:

        async def begin() -> tuple[Broker, Queue[Any], Message[Any]]:
            broker = await self.open_broker()
            queue = broker.queue("q")
            await queue.put_many(range(waiting + 1))
            return broker, queue, await take(queue)

        async def use() -> None:
            await soon(_verbs(broker, queue, message)[verb]())

        with asyncio.Runner() as first:
            broker, queue, message = first.run(begin())
            with asyncio.Runner() as second, pytest.raises(WrongLoop):
                second.run(use())
            first.run(message.ack())
            first.run(broker.close())

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    async def test_a_forked_child(self, broker: Broker) -> None:
        await broker.close()
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "ignore", "-c", _FORK, broker.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == "parent is well\n", done.stderr
        assert done.returncode == 0, done.stderr
