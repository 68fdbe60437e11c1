"""Kill the server under load, again and again, with the ledger outside: see `run_server_kills`.

The clients live here, the servers one after the other in processes of their own, on the same
directory and at the same place.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import posthouse
from posthouse.errors import LeaseExpired, PosthouseError, UnknownOutcome
from posthouse.server import Limits
from posthouse.server.run import run
from tests.lab.process.scratch import scratch

PRODUCERS: Final = 12
CONSUMERS: Final = 4
FEEDS: Final = 2
"""Consumers that iterate: their messages are pushed."""
LONGEST_LIFE_S: Final = 0.25
PATIENCE_S: Final = 300.0
"""A server that is born on a busy machine takes its time; only what hangs takes so long."""
OPTIONS: Final[dict[str, Any]] = {
    "first_pause_s": 0.005,
    "most_pause_s": 0.05,
    "connect_timeout_s": PATIENCE_S,
    "give_up_after_s": PATIENCE_S,
}
DONE: Final = "done"


def serve_until_killed(directory: str, listen: str, ready: Any) -> None:
    """The server's process."""
    logging.disable(logging.CRITICAL)
    run(directory, [listen], Limits(linger_s=60), ready=ready.send, loop="asyncio")


class KilledServer:
    """A server that is killed and comes back at the same place."""

    def __init__(self, directory: Path, listen: str) -> None:
        # A fork server has imported everything: a life costs a fork, and no thread is forked.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._directory = str(directory)
        self.url = listen
        self._process: Any = None

    def start(self) -> None:
        """Begin a life; returns when clients may come."""
        receiver, sender = self._context.Pipe(duplex=False)
        arguments = (self._directory, self.url, sender)
        self._process = self._context.Process(target=serve_until_killed, args=arguments)
        self._process.start()
        sender.close()
        with receiver:
            if not receiver.poll(PATIENCE_S):
                raise AssertionError("the server does not start")
            self.url = receiver.recv()[0]

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self._process.join()
        self._process.close()


@dataclass
class Outside:
    """What the clients were told, and what they saw.

    Attributes:
        answered: bodies whose put was answered, with their ids.
        tried: all bodies that were put, in whichever way.
        batches: bodies that were put together.
        settled: messages (queue, id) whose ack is durable, or whose transaction was answered.
        moved: for a body, how often its move to the other queue was answered; the unknown ones.
        seen: for each queue and body, the ids that it was delivered under.
    """

    answered: dict[str, str] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)
    batches: list[list[str]] = field(default_factory=list)
    settled: set[tuple[str, str]] = field(default_factory=set)
    moved: Counter[str] = field(default_factory=Counter)
    maybe_moved: set[str] = field(default_factory=set)
    seen: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    deliveries: int = 0

    def delivered(self, message: Any) -> None:
        """A message came."""
        self.deliveries += 1
        place = (message.queue_name, message.id)
        if place in self.settled:
            self.problems.append(f"{message.body} came back after it was settled durably")
        if message.body not in self.tried:
            self.problems.append(f"{message.body} was never put")
        if message.token <= self.tokens.get(message.id, 0):
            self.problems.append(f"{message.body}: its token does not grow")
        self.tokens[message.id] = message.token
        self.seen.setdefault((message.queue_name, message.body), set()).add(message.id)

    def judge(self) -> list[str]:
        """Every broken promise, when all there was has been taken."""
        found = list(self.problems)
        for body, message_id in self.answered.items():
            ids = self.seen.get(("q", body), set())
            if message_id not in ids:
                found.append(f"{body} was answered and is lost")
        for (queue, body), ids in self.seen.items():
            if len(ids) > 1:
                found.append(f"{body} is {len(ids)} messages of {queue}")
        for bodies in self.batches:
            there = [("q", body) in self.seen for body in bodies]
            if any(there) and not all(there):
                found.append(f"the batch {bodies} is there in part")
        for body, count in self.moved.items():
            if count > 1 or (DONE, body) not in self.seen:
                found.append(f"{body} was moved {count} times, and is lost or doubled")
        for queue, body in self.seen:
            if queue == DONE and not (self.moved[body] or body in self.maybe_moved):
                found.append(f"{body} is in {DONE}, and nobody moved it there")
        return found


class Load:
    """Clients at work, until they are told to stop."""

    def __init__(self, seed: int, url: str) -> None:
        self._seed = seed
        self._url = url
        self.ledger = Outside()
        self.stop = False
        self.left = True

    async def produce(self, who: int) -> None:
        """Put messages, singly and in batches."""
        random = Random(f"{self._seed}:{who}")
        ledger = self.ledger
        async with posthouse.open(self._url, **OPTIONS) as broker:
            queue = broker.queue("q", retry=posthouse.Retry(max_attempts=10_000))
            number = 0
            while not self.stop:
                bodies = [f"{who}:{number + part}" for part in range(random.choice([1, 1, 1, 4]))]
                number += len(bodies)
                ledger.tried.update(bodies)
                try:
                    if len(bodies) == 1:
                        ids = [await queue.put(bodies[0])]
                    else:
                        ledger.batches.append(bodies)
                        ids = list(await queue.put_many(bodies))
                except UnknownOutcome:
                    continue
                ledger.answered.update(zip(bodies, ids, strict=True))

    async def consume(self, who: int) -> None:
        """Take batches of both queues; ack them, move one in a transaction, or drop them."""
        random = Random(f"{self._seed}:-{who}")
        async with posthouse.open(self._url, **OPTIONS) as broker:
            while self.left:
                queue = broker.queue(random.choice(["q", "q", "q", DONE]))
                try:
                    messages = await queue.get_many(random.choice([1, 5, 50]), timeout=0.05)
                except TimeoutError:
                    continue
                for message in messages:
                    self.ledger.delivered(message)
                await self._settle(random, broker, queue, messages)

    async def iterate(self, who: int) -> None:
        """Take what is pushed."""
        async with posthouse.open(self._url, **OPTIONS) as broker:
            async for message in broker.queue("q"):
                self.ledger.delivered(message)
                await self._ack([message], broker.queue("q"))

    async def _settle(
        self, random: Random, broker: posthouse.Broker, queue: Any, messages: Any
    ) -> None:
        what = random.random()
        if what < 0.1 and not self.stop:
            for message in messages:
                try:
                    await message.give_back()
                except (LeaseExpired, UnknownOutcome):
                    continue
        elif what < 0.4 and queue.name == "q":
            await self._move(broker, messages[0])
            await self._ack(messages[1:], queue)
        else:
            await self._ack(messages, queue)

    async def _ack(self, messages: Any, queue: Any) -> None:
        try:
            if len(messages) == 1:
                await messages[0].ack(durable=True)
            elif messages:
                await queue.ack_many(messages, durable=True)
        except (LeaseExpired, UnknownOutcome):
            return
        self.ledger.settled.update((message.queue_name, message.id) for message in messages)

    async def _move(self, broker: posthouse.Broker, message: Any) -> None:
        ledger = self.ledger
        ledger.maybe_moved.add(message.body)
        try:
            async with broker.transaction() as tx:
                tx.ack(message)
                tx.put(broker.queue(DONE), message.body)
        except (LeaseExpired, UnknownOutcome):
            return
        ledger.moved[message.body] += 1
        ledger.settled.add((message.queue_name, message.id))


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What threads, tasks and callbacks of the clients raised, and nobody was there to hear."""
    found: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(logging.Formatter().format(record))

    def in_thread(hooked: threading.ExceptHookArgs) -> None:
        lines = traceback.format_exception(hooked.exc_type, hooked.exc_value, hooked.exc_traceback)
        found.append("".join(lines))

    listener, before = Listener(logging.ERROR), threading.excepthook
    logging.getLogger("asyncio").addHandler(listener)
    threading.excepthook = in_thread
    try:
        yield found
    finally:
        threading.excepthook = before
        logging.getLogger("asyncio").removeHandler(listener)


def run_server_kills(seed: int, kills: int) -> Outside:
    """So many servers are killed under load; then all that is left is taken, and judged.

    Every put that was answered is delivered, under one id, batches whole; what was acked durably
    or by a transaction does not come back; what was moved is in the other queue once; tokens grow.

    Raises:
        AssertionError: a promise was broken, or a client gave up; it has the seed.
    """
    with scratch() as directory:
        unix = seed % 2 == 1
        listen = f"unix:{directory}/socket" if unix else "tcp://127.0.0.1:0"
        server = KilledServer(Path(directory) / "data", listen)
        server.start()
        try:
            load = Load(seed, server.url)
            with complaints() as problems:
                try:
                    asyncio.run(_run(Random(seed), server, load, kills))
                except (PosthouseError, TimeoutError) as error:
                    # What is still there was not taken: nothing can be said of what is lost.
                    problems += [f"{type(error).__name__}: {error}", *load.ledger.problems]
                else:
                    problems += load.ledger.judge()
        finally:
            server.kill()
    if problems:
        command = f"python -m tests.lab.process.server_kills --seed {seed} --count {kills}"
        raise AssertionError("\n".join([f"seed {seed}: replay: {command}", *problems[:20]]))
    return load.ledger


async def _run(random: Random, server: KilledServer, load: Load, kills: int) -> None:
    producers = [asyncio.create_task(load.produce(who)) for who in range(PRODUCERS)]
    feeds = [asyncio.create_task(load.iterate(who)) for who in range(FEEDS)]
    consumers = [asyncio.create_task(load.consume(who)) for who in range(CONSUMERS)]
    everybody = [*producers, *feeds, *consumers]
    try:
        for _ in range(kills):
            ended, _ = await asyncio.wait(
                everybody,
                timeout=random.random() ** 2 * LONGEST_LIFE_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in ended:
                task.result()
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        load.stop = True
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*producers)
            async with posthouse.open(server.url, **OPTIONS) as broker:
                for name in ("q", DONE):
                    await broker.queue(name).join()
        load.left = False
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*consumers)
    finally:
        for task in everybody:
            task.cancel()
        await asyncio.wait(everybody)


def main() -> None:
    """Kill servers from a seed on, and say how many, and what was moved through them."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.process.server_kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    logging.getLogger("posthouse").setLevel(logging.CRITICAL)
    started = time.perf_counter()
    ledger = run_server_kills(arguments.seed, arguments.count)
    print(
        f"server kills: {arguments.count:,} in {time.perf_counter() - started:.1f} s; "
        f"{len(ledger.answered):,} of {len(ledger.tried):,} puts answered, "
        f"{ledger.deliveries:,} deliveries, {ledger.moved.total():,} moved; every promise was held"
    )


if __name__ == "__main__":
    main()
