"""A scene for each call that may wait: the call, and somebody beside it who must not suffer.

A scene waits for bystanders without a timer: one whose wake-up was lost is a deadlock, and found.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Final

from posthouse.errors import BrokerClosed
from posthouse.queue import Queue
from tests.lab.schedule.cancelling import Play, Scene, Victim

SCENES: Final[dict[str, Play]] = {}


def scene(play: Play) -> Play:
    """Register a scene under its function's name."""
    SCENES[play.__name__] = play
    return play


# putting


@scene
async def put(on: Scene) -> None:
    """Beside it another put, in the same commit."""
    await on.enter()
    victim = on.victim(on.script.put(on.free))
    other = on.task(on.script.put(on.free))
    await victim.ended()
    await other


@scene
async def put_delayed_with_headers(on: Scene) -> None:
    """The other way through the code."""
    await on.enter()
    await on.victim(on.script.put(on.free, delay=0.5, headers={"a": "b"})).ended()


@scene
async def put_many(on: Scene) -> None:
    """All or none of it."""
    await on.enter()
    await on.victim(on.script.put_many(on.free, 5)).ended()


@scene
async def put_waits_for_room(on: Scene) -> None:
    """First in line, with another behind it."""
    await on.enter()
    await on.script.put(on.full)
    victim = on.victim(on.script.put(on.full))
    await on.turns()
    other = on.task(on.script.put(on.full))
    await _make_room(on, victim.task, other)


@scene
async def put_waits_behind_another(on: Scene) -> None:
    """Second in line, with another behind it."""
    await on.enter()
    await on.script.put(on.full)
    first = on.task(on.script.put(on.full))
    await on.turns()
    victim = on.victim(on.script.put(on.full))
    await on.turns()
    other = on.task(on.script.put(on.full))
    await _make_room(on, first, victim.task, other)


@scene
async def put_many_waits_for_room(on: Scene) -> None:
    """A batch that fits only into an empty queue."""
    await on.enter()
    await on.script.put(on.full)
    victim = on.victim(on.script.put_many(on.full, 1))
    await on.turns()
    other = on.task(on.script.put(on.full))
    await _make_room(on, victim.task, other)


@scene
async def put_with_a_timeout(on: Scene) -> None:
    """Its own timeout must not be taken for the cancellation, nor the other way round."""
    await on.enter()
    await on.script.put(on.full)
    victim = on.victim(on.script.put(on.full, timeout=0.05))
    await on.turns()
    other = on.task(on.script.put(on.full))
    await victim.ended()
    await _make_room(on, other)


@scene
async def put_waits_for_the_disk(on: Scene) -> None:
    """The log must be made larger first."""
    await on.enter()
    for _ in range(8):
        on.task(_large(on, on.free))
    await on.turns(1)
    victim = on.victim(_large(on, on.free))
    other = on.task(_large(on, on.free))
    await victim.ended()
    await other
    await _all_but(on)


@scene
async def receipt(on: Scene) -> None:
    """`put_nowait`, then its receipt."""
    await on.enter()
    victim = on.victim(on.script.put_nowait(on.free, waits=True))
    other = on.task(on.script.put_nowait(on.free, waits=True))
    await victim.ended()
    await other


async def _large(on: Scene, queue: Queue[Any]) -> None:
    padded = on.world.body() + "x" * 12_000
    operation = on.script.history.put_started(queue.name, [padded.partition(":")[0]])
    message_id = await on.script.putting(operation, queue.put(padded))
    operation.done([message_id])


async def _make_room(on: Scene, *puts: asyncio.Task[Any]) -> None:
    """Take from the full queue until all who stand in line have had their turn."""
    left = set(puts)
    while left:
        taken = on.task(on.take_and_ack(on.full))
        await asyncio.wait([taken, *left], return_when=asyncio.FIRST_COMPLETED)
        await on.turns(20)
        if not taken.done() and all(put.done() for put in left):
            taken.cancel()
        await asyncio.wait([taken])
        left = {put for put in left if not put.done()}


async def _all_but(on: Scene) -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks)


# taking


async def _serve(on: Scene, victim: Victim, *others: asyncio.Task[Any]) -> None:
    """What was put is enough for all but the victim; put for it too, unless it is cancelled."""
    left = {victim.task, *others}
    await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    await on.turns(20)
    while left := {task for task in left if not task.done()}:
        if not victim.cancelled:
            await on.script.put(on.free)
            await on.turns(20)
        await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    assert not any(task.cancelled() for task in others)


@scene
async def get(on: Scene) -> None:
    """One message comes for two who wait: whoever lives gets it."""
    await on.enter()
    victim = on.victim(on.take_and_ack(on.free))
    await on.turns()
    other = on.task(on.take_and_ack(on.free))
    await on.turns()
    await on.script.put(on.free)
    await _serve(on, victim, other)


@scene
async def get_behind_another(on: Scene) -> None:
    """Two messages come for three who wait."""
    await on.enter()
    first = on.task(on.take_and_ack(on.free))
    await on.turns()
    victim = on.victim(on.take_and_ack(on.free))
    await on.turns()
    third = on.task(on.take_and_ack(on.free))
    await on.turns()
    await on.script.put_many(on.free, 2)
    await _serve(on, victim, first, third)


@scene
async def get_with_a_timeout(on: Scene) -> None:
    """The message comes just when the time is up."""
    await on.enter()
    victim = on.victim(on.script.get(on.free, 0.05, None))
    await on.turns()
    other = on.task(on.take_and_ack(on.free))
    await asyncio.sleep(0.05)
    await on.script.put(on.free)
    await _serve(on, victim, other)


@scene
async def get_many(on: Scene) -> None:
    """A batch."""
    await on.enter()
    victim = on.victim(on.script.get_many(on.free, 3, None))
    await on.turns()
    other = on.task(on.script.get_many(on.free, 1, None))
    await on.turns()
    await on.script.put(on.free)
    await _serve(on, victim, other)


@scene
async def get_a_returned_message(on: Scene) -> None:
    """What comes is not new: it was nacked."""
    await on.enter()
    await on.script.put(on.free)
    message = await on.take(on.free)
    victim = on.victim(on.take_and_ack(on.free))
    await on.turns()
    other = on.task(on.take_and_ack(on.free))
    await on.turns()
    await on.script.nack(message, 0.0)
    await _serve(on, victim, other)


@scene
async def get_a_delayed_message(on: Scene) -> None:
    """What comes was delayed: a timer wakes who waits."""
    await on.enter()
    victim = on.victim(on.take_and_ack(on.free))
    await on.turns()
    other = on.task(on.take_and_ack(on.free))
    await on.turns()
    await on.script.put(on.free, delay=0.05)
    await _serve(on, victim, other)


@scene
async def get_an_expired_message(on: Scene) -> None:
    """What comes is back because its lease ran out."""
    await on.enter()
    await on.script.put(on.free)
    await on.script.get(on.free, None, 0.05)
    victim = on.victim(on.take_and_ack(on.free))
    await on.turns()
    other = on.task(on.take_and_ack(on.free))
    await _serve(on, victim, other)


@scene
async def iterate(on: Scene) -> None:
    """`async for`, cancelled in the wait and in its block: what was set aside goes back."""
    await on.enter()
    victim = on.victim(_iterate(on, 4))
    await on.turns()
    await on.script.put_many(on.free, 6)
    await victim.ended()
    await on.script.put(on.free)
    await on.take_and_ack(on.free)


@scene
async def iterate_with_another(on: Scene) -> None:
    """What was set aside by one who is cancelled goes to another who waits already."""
    await on.enter()
    victim = on.victim(_iterate(on, 3))
    await on.turns()
    await on.script.put_many(on.free, 3)
    other = on.task(_iterate(on, 1))
    await _serve(on, victim, other)


@scene
async def iterate_without_closing(on: Scene) -> None:
    """The cancelled task keeps its iterator alive: what was set aside is had all the same."""
    await on.enter()

    async def consume() -> None:
        on.script.history.iterating("a", 1)
        async for message in on.free:
            on.script.got(message, None)
            await asyncio.sleep(0)
            await on.script.ack(message)

    victim = on.victim(consume())
    await on.turns()
    await on.script.put_many(on.free, 6)
    if not victim.suspended.hit:
        await asyncio.sleep(1.0)
        victim.task.cancel()
    await asyncio.wait([victim.task])
    await on.script.put(on.free)
    await on.take_and_ack(on.free)
    other = on.task(on.free.join())
    while on.free.qsize():
        await on.take_and_ack(on.free)
    await asyncio.sleep(on.world.plans["a"].lease_s)
    while on.free.qsize():
        await on.take_and_ack(on.free)
    await other


async def _iterate(on: Scene, count: int) -> None:
    on.script.history.iterating("a", 1)
    iterator: Any = aiter(on.free)
    try:
        async with aclosing(iterator):
            async for message in iterator:
                on.script.got(message, None)
                await asyncio.sleep(0)
                await on.script.ack(message, durable=count == 2)
                count -= 1
                if not count:
                    break
    finally:
        on.script.history.iterating("a", -1)


# settling


@scene
async def ack_durable(on: Scene) -> None:
    """Two acks in one commit."""
    await on.enter()
    await on.script.put_many(on.free, 2)
    first, second = await on.script.get_many(on.free, 2, None)
    victim = on.victim(on.script.ack(first, durable=True))
    other = on.task(on.script.ack(second, durable=True))
    await victim.ended()
    assert await other


@scene
async def ack_many_durable(on: Scene) -> None:
    """A batch of them."""
    await on.enter()
    await on.script.put_many(on.free, 3)
    messages = await on.script.get_many(on.free, 3, None)
    await on.victim(on.script.ack_many(on.free, messages, durable=True)).ended()


@scene
async def within_a_message(on: Scene) -> None:
    """`async with message`: cancelled inside, another gets it at once."""
    await on.enter()
    await on.script.put(on.free)
    message = await on.take(on.free)

    async def work() -> None:
        await asyncio.sleep(0.01)
        await asyncio.sleep(0)

    victim = on.victim(on.script.within(message, work))
    other = on.task(on.take_and_ack(on.free))
    await _serve(on, victim, other)


@scene
async def settle_without_waiting(on: Scene) -> None:
    """Verbs that never wait: a cancellation cannot come between."""
    await on.enter()
    await on.script.put_many(on.free, 5)
    messages = await on.script.get_many(on.free, 5, None)

    async def settle() -> None:
        await on.script.extend(messages[0], 1.0)
        await on.script.ack(messages[0])
        await on.script.nack(messages[1], None)
        await on.script.reject(messages[2])
        await on.script.give_back(messages[3])
        await on.script.ack_many(on.free, messages[4:], durable=False)

    await on.victim(settle()).ended()


# transactions


@scene
async def commit(on: Scene) -> None:
    """Acks, a nack and puts, beside another transaction."""
    await on.enter()
    await on.script.put_many(on.free, 3)
    one, two, three = await on.script.get_many(on.free, 3, None)
    victim = on.victim(on.script.transact([("ack", one), ("nack", two)], [on.free, on.free], None))
    other = on.task(on.script.transact([("ack", three)], [on.free], None))
    await victim.ended()
    await other


@scene
async def commit_waits_for_room(on: Scene) -> None:
    """Its put waits in line; whoever stands behind it must not wait for ever."""
    await on.enter()
    await on.script.put(on.free)
    await on.script.put(on.full)
    message = await on.take(on.free)
    victim = on.victim(on.script.transact([("ack", message)], [on.full, on.free], None))
    await on.turns()
    other = on.task(on.script.put(on.full))
    await _make_room(on, victim.task, other)
    await _take_back(on, victim.cancelled, message)


@scene
async def commit_with_a_timeout(on: Scene) -> None:
    """No room within its time."""
    await on.enter()
    await on.script.put(on.free)
    await on.script.put(on.full)
    message = await on.take(on.free)
    victim = on.victim(on.script.transact([("ack", message)], [on.full], 0.05))
    await on.turns()
    other = on.task(on.script.put(on.full))
    await victim.ended()
    await _make_room(on, other)


@scene
async def commit_waits_for_the_disk(on: Scene) -> None:
    """The log must be made larger first."""
    await on.enter()
    await on.script.put(on.free)
    message = await on.take(on.free)
    for _ in range(8):
        on.task(_large(on, on.free))
    await on.turns(1)
    victim = on.victim(on.script.transact([("ack", message)], [on.free], None))
    await victim.ended()
    await _all_but(on)


async def _take_back(on: Scene, cancelled: bool, message: Any) -> None:
    """A message of a transaction that was not begun is still its holder's."""
    if cancelled and message.settled is None:
        await on.script.ack(message)


# the queue as a whole, and the broker


@scene
async def purge(on: Scene) -> None:
    """Everything goes, and producers in line are let in."""
    await on.enter()
    await on.script.put(on.full)
    other = on.task(on.script.put(on.full))
    await on.turns()
    await on.victim(on.script.purge(on.full)).ended()
    await other


@scene
async def redrive(on: Scene) -> None:
    """Dead letters go back, and who waits there is woken."""
    await on.enter()
    await on.script.put_many(on.free, 2)
    for message in await on.script.get_many(on.free, 2, None):
        await on.script.reject(message)
    others = [on.task(on.take_and_ack(on.free)) for _ in range(2)]
    await on.turns()
    victim = on.victim(on.script.redrive(on.broker.queue("a.dead")))
    await victim.ended()
    for other in others:
        await other


@scene
async def put_deduplicated(on: Scene) -> None:
    """Two puts under one dedup id: one is stored, and both are told when it is on disk."""
    await on.enter()
    victim = on.victim(on.script.put(on.free, dedup="d"))
    other = on.task(on.script.put(on.free, dedup="d"))
    await victim.ended()
    await other
    await on.script.put(on.free, dedup="d")


@scene
async def publish(on: Scene) -> None:
    """A topic with one queue that is full: as a put that waits."""
    await on.enter()
    topic = on.broker.topic("t")
    await on.full.bind(topic)
    await on.script.put(on.full)

    async def call() -> None:
        body = on.world.body()
        operation = on.script.history.put_started("b", [body.partition(":")[0]])
        ids = await on.script.putting(operation, topic.publish(body, key="x"))
        operation.done([ids["b"]])

    victim = on.victim(call())
    await on.turns()
    other = on.task(on.script.put(on.full))
    await _make_room(on, victim.task, other)


@scene
async def bind(on: Scene) -> None:
    """A binding is there or not; the topic can be used."""
    await on.enter()
    topic = on.broker.topic("t")
    await on.victim(on.free.bind(topic, "a.*")).ended()
    await on.victim(on.free.unbind(topic, "a.*")).ended()
    await on.full.bind(topic)
    assert ("b", "#") in await topic.bindings()


@scene
async def get_of_a_key(on: Scene) -> None:
    """The next of a key comes when the one before it is settled."""
    await on.enter()
    await on.script.put(on.free, key="k")
    message = await on.take(on.free)
    await on.script.put(on.free, key="k")
    victim = on.victim(on.take_and_ack(on.free))
    await on.turns()
    other = on.task(on.take_and_ack(on.free))
    await on.turns()
    await on.script.ack(message)
    await _serve(on, victim, other)


@scene
async def join(on: Scene) -> None:
    """Two wait for the end."""
    await on.enter()
    await on.script.put(on.free)
    message = await on.take(on.free)
    victim = on.victim(on.free.join())
    await on.turns()
    other = on.task(on.free.join())
    await on.turns()
    await on.script.ack(message)
    await victim.ended()
    await other


@scene
async def open_broker(on: Scene) -> None:
    """Cancelled while opening, the place can be opened by another."""
    victim = on.victim(on.enter())
    await victim.ended()
    if not victim.cancelled:
        await on.script.put(on.free)
        return
    await asyncio.sleep(1.0)
    async with on.world.open() as broker:
        await broker.queue("a").put("x")
        assert await broker.queue("a").purge() == 1


@scene
async def close_broker(on: Scene) -> None:
    """With a delivery out and puts on their way: what was acknowledged is safe."""
    await on.enter()
    await on.script.put_many(on.free, 2)
    await on.take(on.free)
    puts = [on.task(_until_closed(on)) for _ in range(2)]
    await on.turns(1)
    on.open = False
    victim = on.victim(on.broker.close())
    await victim.ended()
    on.cut_short = victim.cancelled
    await asyncio.wait(puts)
    await asyncio.sleep(1.0)


async def _until_closed(on: Scene) -> None:
    body = on.world.body()
    operation = on.script.history.put_started("a", [body.partition(":")[0]])
    try:
        operation.done([await on.free.put(body)])
    except BrokerClosed as error:
        operation.failed(error)
    except asyncio.CancelledError as error:
        operation.unknown(error)
        raise
