"""One run from one seed: lives of a broker, a crash or a close between them, and a last look."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from posthouse.broker import Broker
from posthouse.queue import Queue
from posthouse.testing.simloop import Deadlock
from tests.lab.schedule.actors import Actors
from tests.lab.schedule.script import Script
from tests.lab.schedule.world import QUEUES, Kind, World, message_name
from tests.lab.topics import TOPICS

DRAIN_STEPS = 4_000
DRAIN_STEP_S = 0.1


@dataclass
class Result:
    """What came of a run.

    Attributes:
        problems: broken promises; none if all is well.
        history: the run, as text.
        turns: of the loops.
    """

    seed: int
    kind: Kind
    problems: list[str]
    history: str
    turns: int

    def report(self) -> str:
        """What to print of a run that failed."""
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        return (
            f"seed {self.seed} on {self.kind} broke {len(self.problems)} promises:\n{lines}\n"
            f"replay: python -m tests.lab.schedule --seed {self.seed} --backend {self.kind} --trace"
        )


def run_seed(seed: int, kind: Kind) -> Result:
    """Everything that the seed says."""
    world = World(seed, kind)
    # How long a write took decides where the next is made: not by this machine's clock.
    with patch("posthouse.journal.pipeline.monotonic_ns", lambda: world.loop.now_ns()):
        return _run(world)


def _run(world: World) -> Result:
    seed, kind = world.seed, world.kind
    lives = world.chance.choice([1, 1, 2, 3]) if kind == "log" else 1
    turns = 0
    for life in range(lives):
        _live(world, last=life == lives - 1)
        turns += world.loop.turns
        if world.problems:
            break
    return Result(seed, kind, world.verdict(), world.history.to_text(), turns)


def _live(world: World, *, last: bool) -> None:
    loop = world.new_loop()
    life = Life(world, last=last)
    try:
        loop.run(life.main())
    except Deadlock as error:
        world.problems.append(f"deadlock: {error}")
    except Exception as error:
        world.problems.append(f"raised: {error!r}")
    finally:
        world.problems += loop.complaints
        world.end_loop()


class Life:
    """One life of the broker."""

    def __init__(self, world: World, *, last: bool) -> None:
        self._world = world
        self._last = last
        self._chance = world.chance
        self._tasks: list[asyncio.Task[None]] = []

    async def main(self) -> None:
        """Open, act, and end in one of the ways that there are."""
        world, chance = self._world, self._chance
        broker = world.open()
        await broker.__aenter__()
        script = Script(world, broker)
        for topic in TOPICS:
            world.history.bindings(topic, await broker.topic(topic).bindings())
        queues = {name: plan.queue(broker) for name, plan in world.plans.items()}
        dead = [broker.queue(name) for name in world.dead_names()]
        actors = Actors(script, queues, dead)
        producers = self._begin(actors, list(queues.values()), dead)
        if self._last:
            await asyncio.gather(*producers)
            if chance.random() < 0.6:
                for queue in queues.values():
                    await queue.join()
            elif chance.random() < 0.5 and not any(plan.more for plan in world.plans.values()):
                # Behind a limit messages stay when the queue is shut down: not looked at here.
                self._shut_down([*queues.values(), *dead], immediate=False)
                await self._end_tasks(cancel=False)
            await self._end_tasks()
            await drain(world, broker)
            await broker.close()
            return
        await asyncio.sleep(chance.random() * chance.choice([0.01, 0.1, 0.5]))
        end = chance.random()
        if end < 0.6:
            world.history.restarted(world.kill())
            script.die()
            world.loop.set_exception_handler(lambda loop, context: None)  # ghosts
            return
        if end < 0.8:
            self._shut_down([*queues.values(), *dead], immediate=chance.random() < 0.5)
            await self._end_tasks(cancel=False)
        await broker.close()
        await self._end_tasks(cancel=False)
        world.history.restarted("close")

    @staticmethod
    def _shut_down(queues: list[Queue[Any]], *, immediate: bool) -> None:
        for queue in queues:
            queue.shutdown(immediate=immediate)

    def _begin(
        self, actors: Actors, queues: list[Queue[Any]], dead: list[Queue[Any]]
    ) -> list[asyncio.Task[None]]:
        chance, loop = self._chance, self._world.loop
        producers = [
            loop.create_task(actors.produce(chance.randint(1, 8)))
            for _ in range(chance.randint(1, 4))
        ]
        roles: list[Any] = []
        for queue in queues:
            roles += [(actors.consume, queue)] * chance.randint(1, 3)
        roles += [(actors.bury, queue) for queue in dead]
        consumers = [loop.create_task(act(queue)) for act, queue in roles]

        def respawn(number: int) -> None:
            act, queue = roles[number]
            consumers[number] = loop.create_task(act(queue))
            self._tasks.append(consumers[number])

        mischief = loop.create_task(actors.mischief(consumers, respawn))
        self._tasks = [*producers, *consumers, mischief]
        return [*producers, mischief]

    async def _end_tasks(self, *, cancel: bool = True) -> None:
        if cancel:
            for task in self._tasks:
                task.cancel()
        for outcome in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                self._world.problems.append(f"an actor raised {outcome!r}")


async def drain(world: World, broker: Broker) -> None:
    """Take all that is left, whatever state it is in, and see that the accounts are zero."""
    names = await broker.queue_names()
    found: dict[str, list[tuple[str, str, int]]] = {name: [] for name in names}
    for _ in range(DRAIN_STEPS):
        held = 0
        for name in names:
            queue = broker.queue(name)
            while queue.qsize():
                try:
                    message = queue.get_nowait(visibility_timeout=3600.0)
                except asyncio.QueueEmpty:
                    break  # a limit, which passes
                found[name].append((message.id, message_name(message), message.attempts))
                await message.ack()
            stats = await queue.stats()
            # Of what is on its way in, only the bytes are counted.
            held += stats.waiting + stats.delayed + stats.in_flight + stats.size_bytes
        if not held:
            break
        await asyncio.sleep(DRAIN_STEP_S)
    for stats in await broker.stats():
        if stats.waiting or stats.delayed or stats.in_flight or stats.size_bytes:
            world.problems.append(f"an emptied queue says {stats}")
    for name in sorted({*QUEUES, *world.dead_names(), *names}):
        world.history.remaining(name, found.get(name, []))
