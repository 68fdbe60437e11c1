"""A scene for each call that may wait: the call, and somebody beside it who must not suffer.

A scene waits for bystanders without a timer: one whose wake-up was lost is a deadlock, and found.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Final

from posthouse.queue import Queue
from tests.lab.schedule.cancelling import Play, Scene, Victim

SCENES: Final[dict[str, Play]] = {}


def scene(play: Play) -> Play:
    """Register a scene under its function's name; it begins with the broker open."""

    async def opened(on: Scene) -> None:
        await on.enter()
        await play(on)

    SCENES[play.__name__] = opened
    return play


# putting


@scene
async def put(on: Scene) -> None:
    """Beside it another put, in the same commit."""
    victim = on.victim(on.script.put(on.free))
    other = on.task(on.script.put(on.free))
    await victim.ended()
    await other


@scene
async def put_delayed_with_headers(on: Scene) -> None:
    """The other way through the code."""
    await on.victim(on.script.put(on.free, delay=0.5, headers={"a": "b"})).ended()


@scene
async def put_many(on: Scene) -> None:
    """All or none of it."""
    await on.victim(on.script.put_many(on.free, 5)).ended()


@scene
async def put_waits_for_room(on: Scene) -> None:
    """First in line, with another behind it."""
    await on.script.put(on.full)
    victim = await on.waiting_victim(on.script.put(on.full))
    other = on.task(on.script.put(on.full))
    await make_room(on, victim.task, other)


@scene
async def put_waits_behind_another(on: Scene) -> None:
    """Second in line, with another behind it."""
    await on.script.put(on.full)
    first = await on.waiting(on.script.put(on.full))
    victim = await on.waiting_victim(on.script.put(on.full))
    other = on.task(on.script.put(on.full))
    await make_room(on, first, victim.task, other)


@scene
async def put_many_waits_for_room(on: Scene) -> None:
    """A batch that fits only into an empty queue."""
    await on.script.put(on.full)
    victim = await on.waiting_victim(on.script.put_many(on.full, 1))
    other = on.task(on.script.put(on.full))
    await make_room(on, victim.task, other)


@scene
async def put_with_a_timeout(on: Scene) -> None:
    """Its own timeout must not be taken for the cancellation, nor the other way round."""
    await on.script.put(on.full)
    victim = await on.waiting_victim(on.script.put(on.full, timeout=0.05))
    other = on.task(on.script.put(on.full))
    await victim.ended()
    await make_room(on, other)


@scene
async def put_waits_for_the_disk(on: Scene) -> None:
    """The log must be made larger first."""
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
    victim = on.victim(on.script.put_nowait(on.free, waits=True))
    other = on.task(on.script.put_nowait(on.free, waits=True))
    await victim.ended()
    await other


async def _large(on: Scene, queue: Queue[Any]) -> None:
    padded = on.world.body() + "x" * 12_000
    operation = on.script.history.put_started(queue.name, [padded.partition(":")[0]])
    message_id = await on.script.putting(operation, queue.put(padded))
    operation.done([message_id])


async def make_room(on: Scene, *puts: asyncio.Task[Any]) -> None:
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


async def serve(on: Scene, victim: Victim, *others: asyncio.Task[Any]) -> None:
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
    victim = await on.waiting_victim(on.take_and_ack(on.free))
    other = await on.waiting(on.take_and_ack(on.free))
    await on.script.put(on.free)
    await serve(on, victim, other)


@scene
async def get_behind_another(on: Scene) -> None:
    """Two messages come for three who wait."""
    first = await on.waiting(on.take_and_ack(on.free))
    victim = await on.waiting_victim(on.take_and_ack(on.free))
    third = await on.waiting(on.take_and_ack(on.free))
    await on.script.put_many(on.free, 2)
    await serve(on, victim, first, third)


@scene
async def get_with_a_timeout(on: Scene) -> None:
    """The message comes just when the time is up."""
    victim = await on.waiting_victim(on.script.get(on.free, 0.05, None))
    other = on.task(on.take_and_ack(on.free))
    await asyncio.sleep(0.05)
    await on.script.put(on.free)
    await serve(on, victim, other)


@scene
async def get_many(on: Scene) -> None:
    """A batch."""
    victim = await on.waiting_victim(on.script.get_many(on.free, 3, None))
    other = await on.waiting(on.script.get_many(on.free, 1, None))
    await on.script.put(on.free)
    await serve(on, victim, other)


@scene
async def get_a_returned_message(on: Scene) -> None:
    """What comes is not new: it was nacked."""
    await on.script.put(on.free)
    message = await on.take(on.free)
    victim = await on.waiting_victim(on.take_and_ack(on.free))
    other = await on.waiting(on.take_and_ack(on.free))
    await on.script.nack(message, 0.0)
    await serve(on, victim, other)


@scene
async def get_a_delayed_message(on: Scene) -> None:
    """What comes was delayed: a timer wakes who waits."""
    victim = await on.waiting_victim(on.take_and_ack(on.free))
    other = await on.waiting(on.take_and_ack(on.free))
    await on.script.put(on.free, delay=0.05)
    await serve(on, victim, other)


@scene
async def get_an_expired_message(on: Scene) -> None:
    """What comes is back because its lease ran out."""
    await on.script.put(on.free)
    await on.script.get(on.free, None, 0.05)
    victim = await on.waiting_victim(on.take_and_ack(on.free))
    other = on.task(on.take_and_ack(on.free))
    await serve(on, victim, other)


@scene
async def iterate(on: Scene) -> None:
    """`async for`, cancelled in the wait and in its block: what was set aside goes back."""
    victim = await on.waiting_victim(_iterate(on, 4))
    await on.script.put_many(on.free, 6)
    await victim.ended()
    await on.script.put(on.free)
    await on.take_and_ack(on.free)


@scene
async def iterate_with_another(on: Scene) -> None:
    """What was set aside by one who is cancelled goes to another who waits already."""
    victim = await on.waiting_victim(_iterate(on, 3))
    await on.script.put_many(on.free, 3)
    other = on.task(_iterate(on, 1))
    await serve(on, victim, other)


@scene
async def iterate_without_closing(on: Scene) -> None:
    """The cancelled task keeps its iterator alive: what was set aside is had all the same."""

    async def consume() -> None:
        on.script.history.iterating("a", 1)
        async for message in on.free:
            on.script.got(message, None)
            await asyncio.sleep(0)
            await on.script.ack(message)

    victim = await on.waiting_victim(consume())
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
    await on.script.put_many(on.free, 2)
    first, second = await on.script.get_many(on.free, 2, None)
    victim = on.victim(on.script.ack(first, durable=True))
    other = on.task(on.script.ack(second, durable=True))
    await victim.ended()
    assert await other


@scene
async def ack_many_durable(on: Scene) -> None:
    """A batch of them."""
    await on.script.put_many(on.free, 3)
    messages = await on.script.get_many(on.free, 3, None)
    await on.victim(on.script.ack_many(on.free, messages, durable=True)).ended()


@scene
async def ack_many_of_several_deliveries(on: Scene) -> None:
    """They may go to disk in commits of their own: all are waited for."""
    await on.script.put_many(on.free, 4)
    deliveries = [await on.script.get_many(on.free, 1, None) for _ in range(4)]
    messages = [message for delivery in deliveries for message in delivery]
    await on.victim(on.script.ack_many(on.free, messages, durable=True)).ended()


@scene
async def within_a_message(on: Scene) -> None:
    """`async with message`: cancelled inside, another gets it at once."""
    await on.script.put(on.free)
    message = await on.take(on.free)

    async def work() -> None:
        await asyncio.sleep(0.01)
        await asyncio.sleep(0)

    victim = on.victim(on.script.within(message, work))
    other = on.task(on.take_and_ack(on.free))
    await serve(on, victim, other)


@scene
async def settle_without_waiting(on: Scene) -> None:
    """Verbs that never wait: a cancellation cannot come between."""
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
    await on.script.put_many(on.free, 3)
    one, two, three = await on.script.get_many(on.free, 3, None)
    victim = on.victim(on.script.transact([("ack", one), ("nack", two)], [on.free, on.free], None))
    other = on.task(on.script.transact([("ack", three)], [on.free], None))
    await victim.ended()
    await other


@scene
async def commit_waits_for_room(on: Scene) -> None:
    """Its put waits in line; whoever stands behind it must not wait for ever."""
    await on.script.put(on.free)
    await on.script.put(on.full)
    message = await on.take(on.free)
    victim = await on.waiting_victim(
        on.script.transact([("ack", message)], [on.full, on.free], None)
    )
    other = on.task(on.script.put(on.full))
    await make_room(on, victim.task, other)
    await _take_back(on, victim.cancelled, message)


@scene
async def commit_with_a_timeout(on: Scene) -> None:
    """No room within its time."""
    await on.script.put(on.free)
    await on.script.put(on.full)
    message = await on.take(on.free)
    victim = await on.waiting_victim(on.script.transact([("ack", message)], [on.full], 0.05))
    other = on.task(on.script.put(on.full))
    await victim.ended()
    await make_room(on, other)


@scene
async def commit_waits_for_the_disk(on: Scene) -> None:
    """The log must be made larger first."""
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
