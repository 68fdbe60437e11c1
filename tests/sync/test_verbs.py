"""Every verb of the face for threads, once, on both engines: it does what the asyncio one does."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from typing import Any

import msgspec
import pytest

import posthouse
from posthouse import bodies as codecs
from posthouse import sync
from posthouse.errors import (
    AlreadySettled,
    BadArgument,
    BodyError,
    LeaseExpired,
    QueueEmpty,
    QueueFull,
    QueueShutDown,
    Unroutable,
)
from tests.sync.helpers import PATIENCE_S, Running, bodies, under_way


class Order(msgspec.Struct):
    sku: str
    quantity: int


def test_put_get_ack(queue: sync.Queue[Any]) -> None:
    first = queue.put({"sku": "tea"}, headers={"from": "here"})
    second, third = queue.put_many(["b", "c"])
    assert first < second < third
    message = queue.get()
    assert (message.id, message.body, message.headers) == (first, {"sku": "tea"}, {"from": "here"})
    assert (message.attempts, message.settled, message.queue_name) == (1, None, "q")
    assert message.number == int(first, 16)
    assert message.raw == b'{"sku":"tea"}'
    assert message.enqueued_at.tzinfo is not None
    assert message.token > 0
    message.ack()
    message.ack(durable=True)
    assert message.settled == "ack"
    batch = queue.get_many(10)
    assert bodies(batch) == ["b", "c"]
    queue.ack_many(batch, durable=True)
    stats = queue.stats()
    assert (stats.put, stats.acked, stats.waiting, stats.in_flight) == (3, 3, 0, 0)


def test_typed_bodies(broker: sync.Broker) -> None:
    orders = broker.queue("orders", Order)
    orders.put(Order("tea", 2))
    with orders.get() as message:
        assert message.body == Order("tea", 2)


def test_with_settles_by_what_happens(broker: sync.Broker) -> None:
    queue = broker.queue("q", int)
    queue.put(1)
    with queue.get() as message:
        pass
    assert message.settled == "ack"
    queue.put(2)
    with pytest.raises(ZeroDivisionError), queue.get() as message:
        raise ZeroDivisionError
    assert message.settled == "nack"
    queue.put(3)
    with pytest.raises(KeyboardInterrupt), queue.get(where="body == 3") as message:
        raise KeyboardInterrupt
    assert message.settled == "give_back"
    again = queue.get(where="body == 3")
    assert again.attempts == 1
    again.reject("no good")
    letters = broker.queue("q.dead").peek(2)
    assert letters[0].headers["posthouse-reason"] == "no good"


def test_a_body_that_does_not_decode_is_rejected(broker: sync.Broker) -> None:
    broker.queue("q").put("no number")
    with pytest.raises(BodyError), broker.queue("q", int).get() as message:
        _ = message.body
    assert message.settled == "reject"


def test_nack_delay_extend_give_back(queue: sync.Queue[Any]) -> None:
    queue.put("a")
    message = queue.get()
    message.extend(60)
    message.nack(0)
    message = queue.get()
    assert message.attempts == 2
    message.give_back()
    message = queue.get_nowait()
    assert message.attempts == 2
    message.nack(3600, "later")
    with pytest.raises(AlreadySettled):
        message.ack()
    assert queue.stats().delayed == 1
    with pytest.raises(BadArgument):
        queue.get(visibility_timeout=-1)


def test_put_nowait(broker: sync.Broker) -> None:
    queue = broker.queue("q", max_messages=1)
    receipt = queue.put_nowait("a")
    assert receipt.wait() == receipt.id
    assert receipt.wait() == queue.get().id
    with pytest.raises(QueueFull):
        queue.put_nowait("b")


def test_timeouts_mean_the_same(broker: sync.Broker) -> None:
    queue = broker.queue("q", max_messages=1)
    for take in (queue.get, queue.get_many):
        with pytest.raises(TimeoutError):
            take(timeout=0.01)
        with pytest.raises(BadArgument):
            take(timeout=-1)
    with pytest.raises(QueueEmpty):
        queue.get_nowait()
    queue.put("a")
    with pytest.raises(TimeoutError):
        queue.put("b", timeout=0.01)
    with pytest.raises(TimeoutError):
        queue.put_many(["b"], timeout=0)
    assert queue.full()
    assert bodies(queue.get_many(timeout=0)) == ["a"]


def test_waiting_for_room_and_for_a_message(broker: sync.Broker) -> None:
    queue = broker.queue("q", max_messages=1)
    taking = Running(queue.get)
    under_way(queue, 1)
    queue.put("a")
    message = taking.result()
    putting = Running(lambda: queue.put("b"))
    under_way(queue, 1)
    message.ack()
    assert putting.result() == queue.get().id


def test_iterating(queue: sync.Queue[Any]) -> None:
    queue.put_many(range(250))
    seen = []
    for message in queue:
        seen.append(message.body)
        message.ack()
        if len(seen) == 120:
            break
    assert queue.stats().in_flight == 0
    queue.shutdown()
    for message in queue:
        with message:
            seen.append(message.body)
    assert seen == list(range(250))
    with pytest.raises(QueueShutDown):
        queue.put(1)


def test_what_an_iterator_set_aside_goes_back(queue: sync.Queue[Any]) -> None:
    queue.put_many(range(10))
    iterator = iter(queue)
    next(iterator).ack()
    other = Running(lambda: queue.get_many(20))
    assert len(other.result()) < 9  # the rest is set aside for the iterator
    del iterator
    assert queue.qsize() + queue.stats().in_flight == 9


def test_an_iterator_waits(queue: sync.Queue[Any]) -> None:
    taking = Running(lambda: next(iter(queue)))
    under_way(queue, 1)
    queue.put("a")
    assert taking.result().body == "a"


def test_the_queue_as_a_whole(broker: sync.Broker, queue: sync.Queue[Any]) -> None:
    assert queue.empty()
    queue.put_many([1, 2, 3])
    assert queue.qsize() == 3
    assert not queue.empty()
    assert not queue.full()
    assert bodies(queue.peek(2)) == [1, 2]
    assert queue.policy.overflow == "wait"
    broker.queue("q", max_messages=7)
    assert queue.policy.max_messages == 7
    assert broker.queue_names() == ["q"]
    assert [(each.name, each.waiting) for each in broker.stats()] == [("q", 3)]
    assert queue.purge() == 3
    queue.join()


def test_join_waits_for_the_last_settlement(queue: sync.Queue[Any]) -> None:
    queue.put("a")
    message = queue.get()
    joining = Running(queue.join)
    under_way(queue, 1)
    message.ack()
    joining.result()


def test_find(broker: sync.Broker, queue: sync.Queue[Any]) -> None:
    queue.put_many([{"n": number} for number in range(7)])
    page = queue.find("body.n >= 1", limit=4).page()
    assert [message.body["n"] for message in page] == [1, 2, 3, 4]
    assert page.cursor is not None
    rest = queue.find("body.n >= 1", limit=4, cursor=page.cursor).page()
    assert [message.body["n"] for message in rest] == [5, 6]
    assert rest.cursor is None
    assert [message.body["n"] for message in queue.find(limit=3)] == list(range(7))
    assert queue.find("body.n == 0").delete() == 1
    other = broker.queue("other")
    assert queue.find("body.n == 1").move(other) == 1
    assert other.get().body == {"n": 1}
    assert queue.find("body.n == 2").delay(3600) == 1
    with pytest.raises(posthouse.FilterError):
        queue.find("body.n ==")
    queue.get(where="body.n == 3").reject()
    letters = broker.queue("q.dead")
    assert letters.find().redrive() == 1
    queue.get(where="body.n == 3").reject()
    assert letters.redrive() == 1


def test_topics(broker: sync.Broker, queue: sync.Queue[Any]) -> None:
    topic = broker.topic("orders")
    queue.bind(topic, "eu.*")
    assert topic.bindings() == [("q", "eu.*")]
    ids = topic.publish("a", key="eu.fr")
    assert ids == {"q": queue.get().id}
    assert topic.publish("b", key="us", unroutable=True) == {}
    with pytest.raises(Unroutable):
        topic.publish("b", key="us")
    queue.unbind(topic, "eu.*")
    assert topic.bindings() == []


def test_transactions(broker: sync.Broker, queue: sync.Queue[Any]) -> None:
    results = broker.queue("results")
    topic = broker.topic("t")
    results.bind(topic)
    queue.put_many([1, 2, 3])
    one, two, three = queue.get_many(3)
    with broker.transaction() as tx:
        tx.ack(one)
        tx.nack(two, 3600)
        tx.reject(three)
        tx.put(results, "done", headers={"of": one.id})
        tx.publish(topic, "told")
    assert [each.settled for each in (one, two, three)] == ["ack", "nack", "reject"]
    taken = results.get_many(2)
    assert [message.id for message in taken] == tx.ids
    assert bodies(taken) == ["done", "told"]
    with pytest.raises(ZeroDivisionError), broker.transaction(timeout=1) as tx:
        tx.put(results, "never")
        raise ZeroDivisionError
    assert results.empty()
    with pytest.raises(BadArgument):
        tx.put(results, "late")


def test_another_thread_settles(queue: sync.Queue[Any]) -> None:
    queue.put_many([1, 2])
    one, two = queue.get_many(2)
    Running(one.ack).result()
    Running(lambda: two.nack(0)).result()
    assert queue.get().attempts == 2


def test_an_error_keeps_its_type_and_where_it_came_from(queue: sync.Queue[Any]) -> None:
    with pytest.raises(BadArgument, match="no option 'wrong'") as caught:
        queue.put("a", wrong=1)  # type: ignore[call-arg]
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[0] == "test_an_error_keeps_its_type_and_where_it_came_from"
    assert frames.index("put") < frames.index("pack")


def test_an_expired_lease(queue: sync.Queue[Any]) -> None:
    queue.put("a")
    message = queue.get(visibility_timeout=0.001)
    again = queue.get(timeout=PATIENCE_S)
    with pytest.raises(LeaseExpired):
        message.ack()
    again.ack()


def test_the_threads_context_goes_along(broker: sync.Broker) -> None:
    # Tracing needs it: what runs on the loop sees what the thread's context says.
    said = contextvars.ContextVar("said", default="nothing")
    codecs.register("test/said", lambda body: said.get().encode(), bytes.decode)
    queue = broker.queue("q", codec="test/said")
    said.set("something")
    queue.put("a")
    assert queue.get().body == "something"


def test_the_asyncio_face_is_there_for_coroutines(broker: sync.Broker) -> None:
    queue = broker.queue("q")

    async def cycle() -> str:
        await queue.aio.put("a")
        async with await queue.aio.get() as message:
            return str(message.body)

    loop = vars(broker)["_portal"].calls.loop
    assert asyncio.run_coroutine_threadsafe(cycle(), loop).result(PATIENCE_S) == "a"
