"""The contract in bad weather, and what a client sees of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.errors import BrokerUnreachable, UnknownOutcome
from posthouse.testing.cases.base import soon
from posthouse.testing.cases.delivery import DeliveryCases
from posthouse.testing.cases.settling import SettlingCases
from posthouse.testing.cases.transactions import TransactionCases
from posthouse.testing.chaos import ChaosProxy
from posthouse.testing.serving import ServedBroker, serve


class WeatherCases(DeliveryCases, SettlingCases, TransactionCases):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> Iterator[None]:
        with serve(tmp_path / "data") as served, ChaosProxy(served.url) as proxy:
            self.served: ServedBroker = served
            self.proxy = proxy
            self.blow()
            yield

    def blow(self) -> None:
        raise NotImplementedError

    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(self.proxy.url, **options)

    async def reopen(self, broker: posthouse.Broker) -> posthouse.Broker:
        await broker.close()
        self.served.restart()
        return await self.open_broker()


class TestDribble(WeatherCases):
    def blow(self) -> None:
        self.proxy.weather(dribble=7)


class TestDelay(WeatherCases):
    def blow(self) -> None:
        self.proxy.weather(delay_s=0.001)


class TestResets(WeatherCases):
    """Each connection lasts for at most a twentieth of a second."""

    def blow(self) -> None:
        self.proxy.weather(break_after_s=0.05)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedBroker]:
    with serve(tmp_path / "data") as found:
        yield found


@pytest.fixture
def proxy(served: ServedBroker) -> Iterator[ChaosProxy]:
    with ChaosProxy(served.url, seed=3) as found:
        yield found


async def test_puts_through_resets_are_stored_once_and_in_order(
    proxy: ChaosProxy, served: ServedBroker
) -> None:
    async with posthouse.open(served.url) as quiet:
        proxy.weather(break_after_s=0.03)
        async with posthouse.open(proxy.url) as broker:
            queue = broker.queue("q")
            ids: list[str] = []
            for number in range(300):
                ids.append(await soon(queue.put(number)))
                ids += await soon(queue.put_many([number] * 3))
        assert proxy.broken > 3
        found = await quiet.queue("q").get_many(10_000)
        assert [message.id for message in found] == ids
        assert [message.body for message in found] == [n for n in range(300) for _ in range(4)]


async def test_many_tasks_through_resets(proxy: ChaosProxy, served: ServedBroker) -> None:
    proxy.weather(break_after_s=0.02)
    async with posthouse.open(proxy.url, first_pause_s=0.001) as broker:
        queue = broker.queue("q")

        async def work(who: int) -> None:
            for number in range(20):
                await queue.put([who, number])
                await asyncio.sleep(0.005)  # so long that connections break meanwhile

        await soon(asyncio.gather(*[work(who) for who in range(50)]))
        seen: list[Any] = []
        while len(seen) < 1000:
            messages = await soon(queue.get_many(100))
            seen += [tuple(message.body) for message in messages]
            await queue.ack_many(messages)
        assert len(set(seen)) == len(seen) == 1000
        assert (await queue.stats()).waiting == 0
    assert proxy.broken > 3


async def test_iteration_goes_on_after_resets(proxy: ChaosProxy) -> None:
    proxy.weather(break_after_s=0.05)
    async with posthouse.open(proxy.url) as broker:
        queue = broker.queue("q", visibility_timeout=5)

        async def produce() -> None:
            for number in range(400):
                await queue.put(number)

        producing = asyncio.create_task(produce())
        seen = []
        async with asyncio.timeout(60):
            async for message in queue:
                seen.append(message.body)
                await message.ack()
                if len(seen) == 400:
                    break
        await producing
        assert sorted(seen) == list(range(400)), "nothing lost, nothing twice"


@pytest.mark.parametrize("busy", [True, False])
async def test_nothing_is_pushed_again_before_it_is_asked_for(
    proxy: ChaosProxy, served: ServedBroker, busy: bool
) -> None:
    """Where the order counts: what is more urgent by then comes first, after a reset too."""
    async with posthouse.open(proxy.url) as broker, posthouse.open(served.url) as quiet:
        queue = broker.queue("q", order="priority")
        await queue.put_many([1, 2, 3], priority=1)
        iterator = aiter(queue)
        if busy:
            assert (await soon(anext(iterator))).body == 1
        before = proxy.connections
        proxy.reset()
        while proxy.connections == before:
            await asyncio.sleep(0.01)
        for _ in range(5):
            await soon(queue.stats())
        assert (await quiet.queue("q").stats()).in_flight == busy
        await quiet.queue("q").put("urgent", priority=9)
        assert (await soon(anext(iterator))).body == "urgent"


@pytest.mark.parametrize("where", [None, "body == 2"])
async def test_a_get_is_stopped_though_the_connection_breaks(
    proxy: ChaosProxy, where: str | None
) -> None:
    """What said so may be lost with the connection: it is said again on the next."""
    async with posthouse.open(proxy.url) as broker:
        queue = broker.queue("q")
        if where is not None:
            await queue.put(1)
        waiting = asyncio.create_task(queue.get(where=where) if where else queue.get())
        await soon(broker.stats())  # so the get has come to the server
        proxy.swallow()
        queue.shutdown()
        await asyncio.sleep(0.01)  # what it says goes nowhere
        proxy.swallow(False)
        proxy.reset()
        with pytest.raises(posthouse.QueueShutDown):
            await soon(waiting)


async def test_leases_survive_a_reset(proxy: ChaosProxy) -> None:
    async with posthouse.open(proxy.url) as broker:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        message = await queue.get()
        proxy.reset()
        await soon(message.ack())
        assert (await soon(queue.stats())).acked == 1
        second = await queue.get()
        proxy.half_close()
        await soon(second.extend(30))
        await soon(second.ack())


async def test_a_server_that_stays_away(served: ServedBroker) -> None:
    async with posthouse.open(served.url, give_up_after_s=0.2, first_pause_s=0.01) as broker:
        queue = broker.queue("q")
        await queue.put(1)
        message = await queue.get()
        served.stop()
        waiting = asyncio.create_task(queue.get())
        with pytest.raises((BrokerUnreachable, UnknownOutcome)):
            await soon(queue.put(2))
        with pytest.raises(BrokerUnreachable):
            await soon(waiting)
        with pytest.raises(BrokerUnreachable):
            await queue.put(3)
        served.start()
        for _ in range(1000):
            try:
                await queue.put(4)
                break
            except BrokerUnreachable:
                await asyncio.sleep(0.01)
        with pytest.raises(posthouse.LeaseExpired):
            await soon(message.ack())
        bodies = [each.body for each in await soon(queue.get_many(9))]
        assert bodies[0] == 1
        assert bodies[-1] == 4


async def test_a_black_hole_is_noticed(proxy: ChaosProxy) -> None:
    async with posthouse.open(proxy.url, heartbeat_s=0.2, first_pause_s=0.01) as broker:
        queue = broker.queue("q")
        await queue.put(1)
        proxy.swallow()
        putting = asyncio.create_task(queue.put(2))
        before = proxy.connections
        while proxy.connections == before:  # it has tried another connection
            await asyncio.sleep(0.02)
        proxy.swallow(False)
        proxy.reset()
        await soon(putting)
        assert [m.body for m in await soon(queue.get_many(9))] == [1, 2]


async def test_nobody_is_there() -> None:
    with pytest.raises(BrokerUnreachable, match="posthouse serve"):
        await posthouse.open("tcp://127.0.0.1:1", connect_timeout_s=0.2)
    with pytest.raises(BrokerUnreachable):
        await posthouse.open("unix:/nowhere/at/all", connect_timeout_s=0.1)


async def test_a_lease_that_ran_out_beside_a_reset_is_counted(proxy: ChaosProxy) -> None:
    async with posthouse.open(proxy.url) as broker:
        queue = broker.queue("q", visibility_timeout=3600)
        await queue.put(1)
        first = await queue.get(timeout=20)
        await first.extend(0.5)
        # It runs out for the client first, which then comes back and says what it has.
        queue.port._link.holdings.by_token[first.token].deadline_s = 0.0
        proxy.reset()
        again = await queue.get(timeout=20)
        assert again.attempts == 2


async def test_a_delay_never_ends_early_however_long_the_greeting_took(
    served: ServedBroker, proxy: ChaosProxy
) -> None:
    for number in range(6):
        proxy.weather(delay_s=0.1)  # another one in each direction: a random one for each piece
        async with posthouse.open(proxy.url) as broker:
            proxy.weather()
            queue = broker.queue(f"q{number}")
            begun = time.monotonic()
            await queue.put("later", delay=0.06)
            assert (await soon(queue.get())).body == "later"
            assert time.monotonic() - begun >= 0.06
