"""Scenes of a queue as a whole, of topics, and of the broker; see `scenes`."""

from __future__ import annotations

import asyncio

from posthouse.errors import BrokerClosed
from tests.lab.schedule.cancelling import Scene
from tests.lab.schedule.scenes import SCENES, make_room, scene, serve

__all__ = ["SCENES"]


@scene
async def purge(on: Scene) -> None:
    """Everything goes, and producers in line are let in."""
    await on.script.put(on.full)
    other = await on.waiting(on.script.put(on.full))
    await on.victim(on.script.purge(on.full)).ended()
    await other


@scene
async def redrive(on: Scene) -> None:
    """Dead letters go back, and who waits there is woken."""
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
    victim = on.victim(on.script.put(on.free, dedup="d"))
    other = on.task(on.script.put(on.free, dedup="d"))
    await victim.ended()
    await other
    await on.script.put(on.free, dedup="d")


@scene
async def publish(on: Scene) -> None:
    """A topic with a queue that is full: as a put that waits, for both or for none."""
    for queue in (on.free, on.full):
        await on.script.bind("t", queue, "#", True)
    await on.script.put(on.full)
    victim = await on.waiting_victim(on.script.publish("t", "eu"))
    other = on.task(on.script.put(on.full))
    await make_room(on, victim.task, other)


@scene
async def commit_a_publish(on: Scene) -> None:
    """An ack and a publish, together: to both queues and acked, or nothing."""
    for queue in (on.free, on.full):
        await on.script.bind("t", queue, "#", True)
    await on.script.put(on.free)
    message = await on.take(on.free)
    await on.victim(on.script.transact([("ack", message)], [], None, ("t", "eu"))).ended()


@scene
async def act_on_a_set(on: Scene) -> None:
    """Delayed, moved, deleted: who waits there gets what is moved."""
    await on.script.put_many(on.free, 3)
    await on.victim(on.script.act(on.free, None, "delay")).ended()
    target = on.broker.queue("a.dead")
    other = await on.waiting(on.take_and_ack(target))
    victim = on.victim(on.script.act(on.free, None, "move", target))
    await victim.ended()
    await on.script.act(on.free, None, "move", target)
    await other
    await on.victim(on.script.act(target, None, "delete")).ended()


@scene
async def bind(on: Scene) -> None:
    """A binding is there or not; the topic can be used."""
    await on.victim(on.script.bind("t", on.free, "eu.*", True)).ended()
    await on.victim(on.script.bind("t", on.free, "eu.*", False)).ended()
    await on.script.bind("t", on.full, "#", True)
    on.script.history.bindings("t", await on.broker.topic("t").bindings())


@scene
async def get_of_a_key(on: Scene) -> None:
    """The next of a key comes when the one before it is settled."""
    await on.script.put(on.free, key="k")
    message = await on.take(on.free)
    await on.script.put(on.free, key="k")
    victim = await on.waiting_victim(on.take_and_ack(on.free))
    other = await on.waiting(on.take_and_ack(on.free))
    await on.script.ack(message)
    await serve(on, victim, other)


@scene
async def join(on: Scene) -> None:
    """Two wait for the end."""
    await on.script.put(on.free)
    message = await on.take(on.free)
    victim = await on.waiting_victim(on.free.join())
    other = await on.waiting(on.free.join())
    await on.script.ack(message)
    await victim.ended()
    await other


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


SCENES["open_broker"] = open_broker


@scene
async def close_broker(on: Scene) -> None:
    """With a delivery out and puts on their way: what was acknowledged is safe."""
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
