"""The steps of a program that are about topics, sets of messages, dead letters and duplicates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Protocol

from posthouse.broker import Broker
from posthouse.errors import PosthouseError
from posthouse.testing.history import History, Operation
from tests.lab.disk.bodies import make_body, named_in
from tests.lab.disk.queues import (
    BOX,
    DEDUP_S,
    OTHER,
    RICH,
    SHORTEST_S,
    Again,
    Names,
)
from tests.lab.topics import KEYS, MATCHES, TOPICS, routes

FILTERS = (None, None, "attempts > 0", "headers.n is not None", "priority > 0")
MOST_BINDINGS = 6
WAIT_S = 1.0
"""How long it waits for room where there may never be any."""


class Ends(Protocol):
    """Writes down how a call ends."""

    async def __call__(self, op: Operation, call: Awaitable[Any]) -> None: ...


class RichSteps:
    """Steps of one program, on its broker.

    Attributes:
        bound: the bindings as they should be: (topic, queue, pattern).
    """

    def __init__(
        self,
        broker: Broker,
        history: History,
        rng: Random,
        names: Names,
        now_ns: Callable[[], int],
        ends: Ends,
    ) -> None:
        self._broker = broker
        self._history = history
        self._rng = rng
        self._names = names
        self._now_ns = now_ns
        self._ends = ends
        self.bound: set[tuple[str, str, str]] = set()

    async def look(self) -> None:
        """Learn which bindings there are."""
        for topic in TOPICS:
            found = await self._broker.topic(topic).bindings()
            self._history.bindings(topic, found)
            self.bound |= {(topic, queue, pattern) for queue, pattern in found}

    # topics

    async def bind(self, names: tuple[str, ...]) -> None:
        """Make a binding, or end one."""
        rng = self._rng
        ending = sorted(self.bound)
        if ending and (len(ending) >= MOST_BINDINGS or rng.random() < 0.3):
            name, bound = rng.choice(ending), False
        else:
            some = [queue for queue in names if queue != OTHER]
            name = (rng.choice(TOPICS), rng.choice(some), rng.choice(list(MATCHES)))
            bound = True
        topic, queue = self._broker.topic(name[0]), self._broker.queue(name[1])
        op = self._history.bind_started(*name, bound)
        call = queue.bind(topic, name[2]) if bound else queue.unbind(topic, name[2])
        # It takes effect before it is durable: what is published meanwhile goes by it.
        before = set(self.bound)
        (self.bound.add if bound else self.bound.discard)(name)
        await self._ends(op, call)
        if op.outcome == "failed":
            self.bound = before

    def routes(self, topic: str, key: str) -> list[str]:
        """The queues that a message should go to now."""
        return routes([(queue, p) for name, queue, p in self.bound if name == topic], key)

    def draw_publish(self) -> tuple[str, str, str, int]:
        """What to publish: (topic, routing key, the body's name, its size in bytes)."""
        size = self._rng.choice((17, 300, 1500, 9000))
        return self._rng.choice(TOPICS), self._rng.choice(KEYS), self._names.published(), size

    async def publish(self) -> None:
        """Publish, now and then what was published before."""
        topic, key, name, size = self.draw_publish()
        options: dict[str, Any] = {"timeout": WAIT_S}
        if self._rng.random() < 0.2:
            options["headers"] = {"n": name}
        again = False
        if self._rng.random() < 0.4:
            kept = self._names.young(f"{topic} {key}", self._now_ns(), SHORTEST_S)
            again = bool(kept) and self._rng.random() < 0.6
            if not again:
                kept.append(Again(f"d-{name}", name, size, self._now_ns()))
            chosen = self._rng.choice(kept) if again else kept[-1]
            name, size = chosen.name, chosen.size_bytes
            options["dedup"] = chosen.dedup
        puts = [(queue, named_in(name, queue)) for queue in self.routes(topic, key)]
        if not puts:
            # Nothing is written, and so nothing is made durable.
            assert not await self._broker.topic(topic).publish(b"", key=key, unroutable=True)
            return
        op = self._history.transaction_started([], puts, again=again)

        async def call() -> list[str] | None:
            ids = await self._broker.topic(topic).publish(
                make_body(name, size), key=key, unroutable=True, **options
            )
            return [ids[queue] for queue, _ in puts] if ids.keys() == dict(puts).keys() else None

        await self._ends(op, call())

    # duplicates

    def again(self, queue: str, name: str, size: int) -> tuple[str, int, dict[str, Any], bool]:
        """A put under a dedup id: (the body's name, its size, options, whether it is put again)."""
        kept = self._names.young(queue, self._now_ns(), DEDUP_S.get(queue, 300.0))
        again = bool(kept) and self._rng.random() < 0.6
        if not again:
            kept.append(Again(f"d-{name}", name, size, self._now_ns()))
        chosen = self._rng.choice(kept) if again else kept[-1]
        return chosen.name, chosen.size_bytes, {"dedup": chosen.dedup}, again

    # sets of messages

    async def redrive(self) -> None:
        """Put dead letters back: all, some, or those that a filter finds."""
        there = [name for name in await self._broker.queue_names() if name.endswith(".dead")]
        if not there:
            return
        queue = self._broker.queue(self._rng.choice(there))
        op = self._history.redrive_started(queue.name)
        if self._rng.random() < 0.3:
            await self._unknown(op, queue.find(self._rng.choice(FILTERS)).redrive())
        else:
            most = self._rng.choice((None, 1, 3))
            if await self._unknown(op, queue.redrive(most), ends=most is None):
                op.done()

    async def act(self, names: tuple[str, ...]) -> None:
        """Delete, delay or move what a filter finds."""
        rng, where = self._rng, self._rng.choice(FILTERS)
        verb = rng.choice(("delete", "delay", "move"))
        if verb == "move" and BOX in names:
            source, target = rng.choice(((BOX, OTHER), (OTHER, BOX)))
            op = self._history.move_started(source, target)
            queue = self._broker.queue(source)
            await self._unknown(op, queue.find(where).move(self._broker.queue(target)))
        elif verb == "delete":
            queue = self._broker.queue(rng.choice(names))
            op = self._history.purged_started(queue.name)
            await self._unknown(op, queue.find(where).delete())
        else:
            queue = self._broker.queue(rng.choice(names))
            op = self._history.delay_started(queue.name)
            await self._unknown(op, queue.find(where).delay(rng.choice((0, 0.7, 5.0))))

    @staticmethod
    async def _unknown(op: Operation, call: Awaitable[Any], *, ends: bool = False) -> bool:
        """Of a set nobody knows which were found, nor how many steps were done before an error.

        True if it ``ends``, so that it is known, and did.
        """
        why: object = "by a filter"
        try:
            await call
        except PosthouseError as error:
            why = error
        else:
            if ends:
                return True
        op.unknown(why)
        return False


def draw_rich(rng: Random) -> tuple[str, ...]:
    """Which of the `RICH` queues a program has."""
    count = rng.choice((0, 1, 2, 3))
    names = rng.sample([name for name in RICH if name != OTHER], count)
    return (*names, OTHER) if BOX in names else tuple(names)


__all__ = ["RichSteps", "draw_rich"]
