"""One call is cancelled at one of its suspensions; then everything must still be right."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from posthouse.broker import Broker
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.simloop import Deadlock
from tests.lab.schedule.run import drain
from tests.lab.schedule.script import AnyMessage, Script
from tests.lab.schedule.suspend import Suspended, When
from tests.lab.schedule.world import Kind, Plan, World
from tests.lab.topics import TOPICS

Ending = Literal["stay", "close", "kill"]
ENDINGS: Final[tuple[Ending, ...]] = ("stay", "close", "kill")
WHENS: Final[tuple[When, ...]] = ("waiting", "woken")

LEASE_S: Final = 5.0


@dataclass
class Victim:
    """A call that may be cancelled."""

    suspended: Suspended
    task: asyncio.Task[Any]

    async def ended(self) -> Any:
        """What it returned; None if it was cancelled."""
        await asyncio.wait([self.task])
        if self.task.cancelled():
            return None
        return self.task.result()

    @property
    def cancelled(self) -> bool:
        """It ended by the cancellation."""
        return self.task.cancelled()


class Scene:
    """A broker with two queues, ``a`` without a limit and ``b`` that takes one message."""

    def __init__(self, world: World, at: int, when: When) -> None:
        self.world = world
        self._at = at
        self._when = when
        self.victims: list[Victim] = []
        self.backend = world.backend()
        self.broker = Broker("simulated", self.backend)
        self.script = Script(world, self.broker)
        self.open = False
        self.cut_short = False

    @property
    def free(self) -> Queue[Any]:
        """The queue without a limit."""
        return self.world.plans["a"].queue(self.broker)

    @property
    def full(self) -> Queue[Any]:
        """The queue that takes one message."""
        return self.world.plans["b"].queue(self.broker)

    async def enter(self) -> None:
        """Open the broker."""
        await self.broker.__aenter__()
        self.open = True

    def victim(self, coroutine: Coroutine[Any, Any, Any]) -> Victim:
        """Begin the call that is to be cancelled."""
        suspended = Suspended(coroutine, self._at, self._when)
        victim = Victim(suspended, self.task(suspended.run()))
        self.victims.append(victim)
        return victim

    def task(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Begin another call beside it."""
        return asyncio.get_running_loop().create_task(coroutine)

    async def turns(self, count: int = 3) -> None:
        """Let what has begun come to its first wait."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def waiting_victim(self, coroutine: Coroutine[Any, Any, Any]) -> Victim:
        """The call that is to be cancelled, come to its first wait."""
        victim = self.victim(coroutine)
        await self.turns()
        return victim

    async def waiting(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Another call, come to its first wait."""
        task = self.task(coroutine)
        await self.turns()
        return task

    async def take(self, queue: Queue[Any]) -> AnyMessage:
        """The next message; it must come."""
        message = await self.script.get(queue, None, None)
        assert message is not None
        return message

    async def take_and_ack(self, queue: Queue[Any]) -> None:
        """The next message is done."""
        await self.script.ack(await self.take(queue))

    async def usable(self) -> None:
        """Both queues still put and get."""
        for queue in (self.free, self.full):
            while queue.qsize() or queue.full():
                await self.take_and_ack(queue)
            await self.script.put(queue)
            await self.take_and_ack(queue)

    def leaks(self) -> list[str]:
        """Who is still in a line, though nobody waits."""
        found = []
        for lane in self.backend.session.engine.lanes.values():
            for what in ("getters", "putters", "joiners"):
                waiting = getattr(lane, what)
                if waiting:
                    found.append(f"{len(waiting)} {what} are left at queue {lane.state.name!r}")
        return found


Play: TypeAlias = Callable[[Scene], Awaitable[None]]


@dataclass
class Outcome:
    """What came of one cancellation; not ``hit``: the call has fewer suspensions."""

    problems: list[str]
    hit: bool
    history: str


def new_world(seed: int, kind: Kind) -> World:
    """Plain policies: what is looked at here is the cancellation."""
    world = World(seed, kind)
    world.may_inline = False  # a call that does not wait cannot be cancelled
    retry = Retry(max_attempts=5, first_s=0.0, jitter=False)
    world.plans = {
        "a": Plan("a", LEASE_S, retry, "a.dead", None, "wait"),
        "b": Plan("b", LEASE_S, retry, "b.dead", 1, "wait"),
    }
    return world


def attack(play: Play, kind: Kind, at: int, when: When, ending: Ending, seed: int) -> Outcome:
    """Play a scene, its victim cancelled at suspension ``at``, and judge it."""
    world = new_world(seed, kind)
    loop = world.new_loop()
    scene = Scene(world, at, when)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loop.run(_life(scene, play, ending))
            gc.collect(0)
        world.problems += [f"warning: {warning.message}" for warning in caught]
    except Deadlock as error:
        world.problems.append(f"deadlock: {error}")
    except Exception as error:
        world.problems.append(f"raised: {error!r}")
    finally:
        world.problems += loop.complaints
        world.end_loop()
    if ending != "stay" and not world.problems:
        _again(world)
    hit = any(victim.suspended.hit for victim in scene.victims)
    return Outcome(world.verdict(), hit, world.history.to_text())


async def _life(scene: Scene, play: Play, ending: Ending) -> None:
    world, broker = scene.world, scene.broker
    await play(scene)
    for victim in scene.victims:
        await asyncio.wait([victim.task])
        if victim.suspended.hit and not victim.cancelled:
            world.problems.append(f"the cancellation was swallowed: {victim.task!r}")
    if ending == "kill":
        world.history.restarted(world.kill())
        scene.script.die()
        world.loop.set_exception_handler(lambda loop, context: None)
        return
    if scene.open:
        await scene.usable()
        world.problems += scene.leaks()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    world.problems += [f"a task is left: {task!r}" for task in tasks]
    if ending == "stay" and scene.open:
        await drain(world, broker)
    await broker.close()
    if ending == "close":
        # A close that was cut short is worth no more than the end of the process.
        world.history.restarted("kill" if scene.cut_short else "close")


def _again(world: World) -> None:
    """Open the same place again and take all that is there."""
    loop = world.new_loop()

    async def look() -> None:
        async with world.open() as broker:
            for plan in world.plans.values():
                plan.queue(broker)
            for topic in TOPICS:
                world.history.bindings(topic, await broker.topic(topic).bindings())
            await drain(world, broker)

    try:
        loop.run(look())
    except Exception as error:
        world.problems.append(f"after the end: {error!r}")
    finally:
        world.problems += loop.complaints
        world.end_loop()
