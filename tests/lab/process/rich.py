"""What a life does beside the plain: keys, priorities, duplicates, sets that a filter finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, Protocol

from posthouse import Queue
from tests.lab.process.bodies import body_of
from tests.lab.process.queues import BOX, OTHER, URGENT

FILTERS: Final = (None, "attempts > 0", "priority > 0", "enqueued_at is not None")
SOME_KEYS: Final = ("k", "l", "m")
AGAIN: Final = 4
"""So many dedup ids there are for a queue."""
WAIT_S: Final = 0.001


class Teller(Protocol):
    """Tells of calls; see `life.Life`."""

    def begin(self, word: str, *fields: Any) -> int:
        """Say what is about to be done."""
        ...

    async def end(self, number: int, call: Awaitable[Any], *, of_some: bool = False) -> bool:
        """Await the call and say how it ended."""
        ...


class RichVerbs:
    """Verbs of a life that has `queues.RICH` queues.

    ``scope`` begins the dedup ids, and the keys of what is put under them: lives with the same
    one put the same again. It must be the life's own where clocks jump between lives.
    """

    def __init__(
        self,
        teller: Teller,
        random: Random,
        queues: dict[str, Queue[str]],
        rich: tuple[str, ...],
        scope: str,
    ) -> None:
        self._teller = teller
        self._random = random
        self._queues = queues
        self._rich = rich
        self._scope = scope

    def verbs(self) -> list[tuple[float, Callable[[], Awaitable[None]]]]:
        """All of them, with how often each is drawn."""
        return [(1.5, self.put_again), (0.6, self.redrive), (0.6, self.act)]

    def options(self, queue: str) -> dict[str, Any]:
        """What a put into the queue asks for."""
        random, options = self._random, dict[str, Any]()
        if random.random() < (0.7 if queue in self._rich else 0.2):
            options["key"] = random.choice(SOME_KEYS)
        if queue == URGENT:
            options["priority"] = random.choice([0, 0, 1, 255])
        if random.random() < 0.05:
            options["ttl"] = random.choice([0.002, 0.02])
        return options

    async def put_again(self) -> None:
        """Put under a dedup id, perhaps one under which something was put before."""
        name = self._random.choice("ab")
        dedup = f"d{self._scope}.{name}.{self._random.randrange(AGAIN)}"
        number = self._teller.begin("put", name, [dedup], None, {"again": True})

        async def call() -> list[str]:
            put = self._queues[name].put(body_of(dedup), dedup=dedup, timeout=WAIT_S)
            return [await put]

        await self._teller.end(number, call())

    async def redrive(self) -> None:
        """Put dead letters back: all of them, some, or what a filter finds."""
        queue, kind = self._queues["a.dead"], self._random.random()
        number = self._teller.begin("redrive", queue.name)
        if kind < 0.6:
            await self._teller.end(number, _nothing(queue.redrive()))
        elif kind < 0.8:
            await self._some(number, queue.redrive(self._random.choice([1, 3])))
        else:
            await self._some(number, queue.find(self._random.choice(FILTERS)).redrive())

    async def act(self) -> None:
        """Delete, delay or move what a filter finds."""
        random, where = self._random, self._random.choice(FILTERS)
        verb = random.choice(["delete", "delay", "move"])
        if verb == "move" and BOX in self._rich:
            source, target = random.sample([BOX, OTHER], 2)
            number = self._teller.begin("move", source, target)
            found = self._queues[source].find(where)
            await self._some(number, found.move(self._queues[target]))
            return
        queue = self._queues[random.choice(["a", "b", *self._rich])]
        if verb == "delete":
            number = self._teller.begin("purge", queue.name)
            await self._some(number, queue.find(where).delete())
        else:
            number = self._teller.begin("delay", queue.name)
            await self._some(number, queue.find(where).delay(random.choice([0, 0.002])))

    async def _some(self, number: int, call: Awaitable[Any]) -> None:
        await self._teller.end(number, _nothing(call), of_some=True)


async def _nothing(call: Awaitable[Any]) -> None:
    await call
