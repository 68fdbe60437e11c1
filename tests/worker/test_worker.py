"""The worker on the memory broker: what becomes of a message, and how a run ends."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

import posthouse
from posthouse import (
    BadArgument,
    Broker,
    LeaseExpired,
    Message,
    Queue,
    Retry,
    StorageFailed,
    Worker,
)
from posthouse.worker import run as run_module

AT_ONCE = Retry(max_attempts=3, backoff="fixed", first_s=0.0)


class Order(msgspec.Struct):
    sku: str


@pytest.fixture
async def broker() -> AsyncIterator[Broker]:
    async with posthouse.open("memory:") as broker:
        yield broker


@pytest.fixture
async def orders(broker: Broker) -> Queue[Any]:
    return broker.queue("orders", retry=AT_ONCE)


async def held(queue: Queue[Any]) -> int:
    figures = await queue.stats()
    return figures.waiting + figures.delayed + figures.in_flight


async def test_a_handled_message_is_acked(broker: Broker, orders: Queue[Any]) -> None:
    worker = Worker(broker)
    seen: list[tuple[str, str, int]] = []

    @worker.task("orders")
    async def ship(order: Order, message: Message[Order]) -> None:
        seen.append((order.sku, message.id, message.attempts))
        worker.stop()

    name = await orders.put({"sku": "tea"})
    await worker.run()
    assert seen == [("tea", name, 1)]
    assert await held(orders) == 0


async def test_no_more_handlers_run_at_once_than_allowed(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker)
    running, most, done = 0, 0, 0

    @worker.task("orders", concurrency=3)
    async def ship(order: int) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        for _ in range(order % 7):  # so that they end one by one
            await asyncio.sleep(0)
        running -= 1
        done += 1
        assert (await orders.stats()).in_flight <= 3
        if done == 20:
            worker.stop()

    await orders.put_many(list(range(20)))
    await worker.run()
    assert (most, done) == (3, 20)
    assert await held(orders) == 0


async def test_a_failing_message_is_retried_and_then_dead_with_its_error(
    broker: Broker, orders: Queue[Any], caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(broker)
    attempts: list[int] = []

    @worker.task("orders")
    async def ship(order: Any, message: Message[Any]) -> None:
        attempts.append(message.attempts)
        raise RuntimeError("no stock")

    await orders.put({"secret": "of the body"})
    run = asyncio.create_task(worker.run())
    dead = await broker.queue("orders.dead").get()
    worker.stop()
    await run
    assert attempts == [1, 2, 3]
    assert dead.headers["posthouse-error"] == "RuntimeError: no stock"
    assert dead.headers["posthouse-attempts"] == "3"
    assert caplog.text.count("failed on message") == 3
    assert "of the body" not in caplog.text


async def test_a_handler_over_its_time_fails(broker: Broker, orders: Queue[Any]) -> None:
    worker = Worker(broker)

    @worker.task("orders", timeout=0.01)
    async def ship(order: str) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if order == "ignores it":
                return
            raise

    await orders.put_many(["obeys", "ignores it"])
    run = asyncio.create_task(worker.run())
    dead = broker.queue("orders.dead")
    letters = [await dead.get(), await dead.get()]
    worker.stop()
    await run
    assert sorted(letter.body for letter in letters) == ["ignores it", "obeys"]
    for letter in letters:
        assert "longer than 0.01 s" in letter.headers["posthouse-error"]


async def test_a_timeout_of_the_handlers_own_is_told_as_it_is(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker)

    @worker.task("orders", timeout=30)
    async def ship(order: Any) -> None:
        raise TimeoutError("the carrier did not answer")

    await orders.put(1)
    run = asyncio.create_task(worker.run())
    dead = await broker.queue("orders.dead").get()
    worker.stop()
    await run
    assert dead.headers["posthouse-error"] == "TimeoutError: the carrier did not answer"


async def test_a_body_that_does_not_decode_is_rejected_at_once(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker)
    calls = 0

    @worker.task("orders")
    async def ship(order: Order) -> None:
        nonlocal calls
        calls += 1

    await orders.put({"sku": 5})
    run = asyncio.create_task(worker.run())
    dead = await broker.queue("orders.dead").get()
    worker.stop()
    await run
    assert calls == 0
    assert dead.headers["posthouse-reason"] == "undecodable"
    assert dead.headers["posthouse-attempts"] == "1"


async def test_a_cancellation_from_inside_a_handler_is_a_failure(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker)
    attempts = 0

    @worker.task("orders")
    async def ship(order: Any) -> None:
        nonlocal attempts
        attempts += 1
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner

    await orders.put(1)
    run = asyncio.create_task(worker.run())
    dead = await broker.queue("orders.dead").get()
    worker.stop()
    await run
    assert attempts == 3
    assert "cancelled from inside" in dead.headers["posthouse-error"]


async def test_a_message_settled_in_the_handler_is_left_at_that(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker)
    invoices = broker.queue("invoices")

    @worker.task("orders")
    async def ship(order: Any, message: Message[Any]) -> None:
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.put(invoices, {"order": message.id})
        raise RuntimeError("too late to matter")

    name = await orders.put(1)
    run = asyncio.create_task(worker.run())
    invoice = await invoices.get()
    worker.stop()
    await run
    assert invoice.body == {"order": name}
    assert await held(orders) == 0
    assert "orders.dead" not in await broker.queue_names()


async def test_leases_are_renewed_while_a_handler_runs(
    broker: Broker, orders: Queue[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Worker(broker)
    extended, renewed = 0, asyncio.Event()
    extend = Message.extend

    async def counting(message: Message[Any], seconds: float) -> None:
        nonlocal extended
        await extend(message, seconds)
        extended += 1
        if extended == 9:  # three leases' worth
            renewed.set()

    monkeypatch.setattr(Message, "extend", counting)

    @worker.task("orders", visibility_timeout=0.15)
    async def ship(order: Any) -> None:
        await renewed.wait()
        worker.stop()

    await orders.put(1)
    await worker.run()
    figures = await orders.stats()
    assert (figures.acked, figures.returned, figures.expired_leases) == (1, 0, 0)


async def test_a_handler_whose_lease_is_lost_is_cancelled(
    broker: Broker,
    orders: Queue[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = Worker(broker)
    cancelled = asyncio.Event()

    async def lost(message: Message[Any], seconds: float) -> None:
        raise LeaseExpired("it ran out")

    monkeypatch.setattr(Message, "extend", lost)

    @worker.task("orders", visibility_timeout=0.06)
    async def ship(order: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await orders.put(1)
    run = asyncio.create_task(worker.run())
    await cancelled.wait()
    worker.stop()
    worker.stop()
    await run
    assert "ran out while the handler ran" in caplog.text


async def test_stop_lets_handlers_finish_and_takes_no_more(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker, drain_timeout=30)
    started, go_on, finished = asyncio.Event(), asyncio.Event(), 0

    @worker.task("orders", concurrency=1)
    async def ship(order: Any) -> None:
        nonlocal finished
        started.set()
        await go_on.wait()
        finished += 1

    await orders.put_many([1, 2])
    run = asyncio.create_task(worker.run())
    await started.wait()
    worker.stop()
    go_on.set()
    await run
    figures = await orders.stats()
    assert (finished, figures.acked, figures.waiting) == (1, 1, 1)


async def test_signal_handlers_are_put_back(broker: Broker, orders: Queue[Any]) -> None:
    def ours(number: int, frame: object) -> None: ...

    before = {number: signal.signal(number, ours) for number in (signal.SIGTERM, signal.SIGINT)}
    worker = Worker(broker)
    during: list[Any] = []

    @worker.task("orders")
    async def ship(order: Any) -> None:
        during.append(signal.getsignal(signal.SIGTERM))
        worker.stop()

    await orders.put(1)
    try:
        await worker.run()
        assert during[0] is not ours
        assert [signal.getsignal(number) for number in before] == [ours, ours]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("stops", [1, 2])
async def test_what_does_not_finish_is_given_back_uncounted(
    broker: Broker, orders: Queue[Any], stops: int
) -> None:
    """After the drain timeout (one stop, none allowed), or at the second stop."""
    worker = Worker(broker, drain_timeout=0 if stops == 1 else 3600)
    started = asyncio.Event()

    @worker.task("orders")
    async def ship(order: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    await orders.put(1)
    run = asyncio.create_task(worker.run())
    await started.wait()
    for _ in range(stops):
        worker.stop()
    await run
    again = await orders.get(timeout=0)
    assert again.attempts == 1


async def test_messages_taken_but_not_started_are_given_back(
    broker: Broker, orders: Queue[Any]
) -> None:
    worker = Worker(broker, drain_timeout=3600)
    calls = 0

    @worker.task("orders", concurrency=2)
    async def ship(order: Any) -> None:
        nonlocal calls
        calls += 1
        worker.stop()
        worker.stop()
        await asyncio.Event().wait()

    await orders.put_many([1, 2])
    await worker.run()
    assert calls in (1, 2)
    again = await orders.get_many(2, timeout=0)
    assert [message.attempts for message in again] == [1, 1]


async def test_a_handler_that_ignores_its_cancellation_is_left_behind(
    broker: Broker,
    orders: Queue[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(run_module, "CANCEL_GRACE_S", 0.01)
    worker = Worker(broker, drain_timeout=0)
    started, let_go = asyncio.Event(), asyncio.Event()
    stubborn: list[asyncio.Task[Any] | None] = []

    @worker.task("orders")
    async def ship(order: Any) -> None:
        stubborn.append(asyncio.current_task())
        started.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    await orders.put(1)
    run = asyncio.create_task(worker.run())
    await started.wait()
    try:
        worker.stop()
        await run
        assert "ignores its cancellation" in caplog.text
        assert "in ship" in caplog.text
        again = await orders.get(timeout=0)
        assert again.attempts == 1
    finally:
        let_go.set()
    assert stubborn[0] is not None
    await stubborn[0]


async def test_cancelling_run_gives_back_and_ends(broker: Broker, orders: Queue[Any]) -> None:
    worker = Worker(broker)
    started = asyncio.Event()

    @worker.task("orders")
    async def ship(order: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    await orders.put(1)
    run = asyncio.create_task(worker.run())
    await started.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await orders.get(timeout=0)).attempts == 1


async def test_a_fault_in_taking_settling_or_renewing_is_raised_from_run(
    broker: Broker, orders: Queue[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*args: Any, **settings: Any) -> None:
        raise StorageFailed("the disk is gone")

    for owner, verb in ((Queue, "get_many"), (Message, "ack"), (Message, "extend")):
        worker = Worker(broker)

        async def ship(order: Any, verb: str = verb) -> None:
            if verb == "extend":
                await asyncio.Event().wait()

        worker.task("orders", visibility_timeout=0.06)(ship)
        await orders.put(1)
        with monkeypatch.context() as patch:
            patch.setattr(owner, verb, fails)
            with pytest.raises(StorageFailed, match="the disk is gone"):
                await worker.run()
        assert await orders.purge() == 1, verb


async def test_run_returns_when_every_queue_is_shut_down(broker: Broker) -> None:
    worker = Worker(broker)
    seen: list[Any] = []

    @worker.task("orders")
    async def ship(order: Any) -> None:
        seen.append(order)

    @worker.task("invoices")
    async def send(invoice: Any) -> None:
        seen.append(invoice)

    orders, invoices = broker.queue("orders"), broker.queue("invoices")
    await orders.put(1)
    await invoices.put(2)
    run = asyncio.create_task(worker.run())
    await orders.join()
    await invoices.join()
    orders.shutdown()
    invoices.shutdown()
    await run
    assert sorted(seen) == [1, 2]


async def test_a_url_is_opened_for_the_run_and_closed_after_it(tmp_path: Any) -> None:
    url = str(tmp_path / "data")
    async with posthouse.open(url) as broker:
        await broker.queue("orders").put("tea")
    worker = Worker(url)
    seen: list[str] = []

    @worker.task("orders")
    async def ship(order: str) -> None:
        seen.append(order)
        worker.stop()

    await worker.run()
    assert seen == ["tea"]
    async with posthouse.open(url) as broker:
        assert await held(broker.queue("orders")) == 0


async def test_running_needs_a_task_and_happens_once_at_a_time(broker: Broker) -> None:
    worker = Worker(broker)
    with pytest.raises(BadArgument, match="no tasks"):
        await worker.run()

    @worker.task("orders")
    async def ship(order: Any) -> None: ...

    first = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    with pytest.raises(BadArgument, match="already running"):
        await worker.run()
    worker.stop()
    await first
