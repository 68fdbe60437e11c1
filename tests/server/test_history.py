"""A run through bad weather, written down and judged (`posthouse.testing.history`)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import posthouse
from posthouse.testing.chaos import ChaosProxy
from posthouse.testing.history import History
from posthouse.testing.serving import serve

STEPS = 60
WORKERS = 8


async def _settle(
    chance: random.Random, history: History, broker: posthouse.Broker, message: Any, name: str
) -> None:
    verbs: list[Any] = ["ack", "ack", "nack", "give_back", "transaction"]
    verb = chance.choice(verbs)
    where = (message.queue_name, message.id, message.token)
    if verb == "transaction":
        operation = history.transaction_started([("ack", *where)], [("other", name)])
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.put(broker.queue("other"), name)
        operation.done(tx.ids)
        return
    operation = history.settle_started(
        verb, *where, durable=verb == "ack", delay_s=0.0 if verb == "nack" else None
    )
    if verb == "ack":
        await message.ack(durable=True)
    elif verb == "nack":
        await message.nack(delay=0)
    else:
        await message.give_back()
    operation.done()


async def _work(who: int, seed: int, url: str, history: History) -> None:
    chance = random.Random(seed * 100 + who)
    async with posthouse.open(url, first_pause_s=0.001, most_pause_s=0.02) as broker:
        queue = broker.queue("q")
        for number in range(STEPS):
            name = f"{who}:{number}"
            if chance.random() < 0.5:
                bodies = [f"{name}.{part}" for part in range(chance.choice([1, 1, 3]))]
                operation = history.put_started("q", bodies)
                if len(bodies) == 1:
                    operation.done([await queue.put(bodies[0])])
                else:
                    operation.done(list(await queue.put_many(bodies)))
                continue
            history.taking("q", 1)
            try:
                message = await queue.get(timeout=0.05)
            except TimeoutError:
                history.taking("q", -1)
                continue
            history.delivered("q", message.id, message.body, message.token, message.attempts)
            history.taking("q", -1)
            await _settle(chance, history, broker, message, f"{name}.moved")


async def test_a_history_through_resets(tmp_path: Path) -> None:
    seed = random.randrange(1 << 20)
    history = History()
    with serve(tmp_path / "data") as served, ChaosProxy(served.url, seed) as proxy:
        async with posthouse.open(served.url) as quiet:
            quiet.queue("q", visibility_timeout=3600, retry=posthouse.Retry(max_attempts=10_000))
            quiet.queue("other")
            await quiet.stats()
            proxy.weather(break_after_s=0.05, delay_s=0.001)
            async with asyncio.timeout(90):
                await asyncio.gather(
                    *[_work(who, seed, proxy.url, history) for who in range(WORKERS)]
                )
            for name in ("q", "other"):
                found = await quiet.queue(name).find(limit=10_000)
                history.remaining(name, [(each.id, each.body, each.attempts) for each in found])
        assert proxy.broken > 3
    problems = history.problems(
        max_attempts={"q": 10_000}, order={"q": "none", "other": "none"}, leases_last=True
    )
    assert not problems, f"seed {seed}:\n" + "\n".join(problems[:5])
    assert len(history.events) > STEPS * WORKERS
