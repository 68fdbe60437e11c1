"""The database does what the engine does: random programs on both, with one clock that stands."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import posthouse
from posthouse.model import Retry
from posthouse.testing.clock import ManualClock
from tests.lab.process.scratch import scratch

POLICIES: dict[str, dict[str, Any]] = {
    "fifo": {},
    "lifo": {"order": "lifo"},
    "priority": {"order": "priority"},
    "fair": {"fair": True, "max_in_flight_per_key": None},
    "fair, one of each key": {"fair": True},
    "two of each key": {"max_in_flight_per_key": 2},
    "keys free": {"max_in_flight_per_key": None},
    "in flight": {"max_in_flight": 3},
    "drops": {"max_messages": 5, "overflow": "drop_oldest"},
    "rejects": {"max_bytes": 40, "overflow": "reject"},
    "rate": {"rate": "4/h"},
}
RETRY = Retry(max_attempts=3, backoff=(0.0,), jitter=False)

STEP = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(["", "", "a", "b", "c"]), st.integers(0, 2)),
    st.tuples(st.just("put_many"), st.sampled_from(["", "a"]), st.integers(1, 4)),
    st.tuples(st.just("get"), st.just(""), st.integers(1, 4)),
    st.tuples(
        st.sampled_from(["ack", "nack", "reject", "give_back", "later"]),
        st.just(""),
        st.integers(0, 9),
    ),
    st.tuples(st.sampled_from(["purge", "redrive", "find"]), st.just(""), st.just(0)),
    st.tuples(st.just("clock"), st.just(""), st.integers(1, 3)),
)


async def _play(broker: posthouse.Broker, clock: ManualClock, policy: str, steps: Any) -> Any:
    """What a program sees of its queue, step by step."""
    settings_ = POLICIES[policy]
    queue = broker.queue("q", retry=RETRY, visibility_timeout=1e6, **settings_)
    dead = broker.queue("q.dead", dead_letter="q.dead")
    held: list[Any] = []
    seen: list[Any] = []
    count = 0
    for verb, key, number in steps:
        clock.advance(0.001)
        if verb == "later" and settings_.get("fair"):
            # One without a key comes back by its age here, and at the end of its line there.
            verb = "nack"
        if verb in ("put", "put_many"):
            options: dict[str, Any] = {"key": key} if key else {}
            if settings_.get("order") == "priority":
                options["priority"] = number
            bodies = [f"{count + n:04}" for n in range(number if verb == "put_many" else 1)]
            count += len(bodies)
            try:
                await queue.put_many(bodies, timeout=0, **options)
            except (posthouse.QueueFull, TimeoutError):
                seen.append("full")
        elif verb == "get":
            try:
                messages = await queue.get_many(number, timeout=0)
            except TimeoutError:
                seen.append("nothing")
            else:
                seen.append([(m.body, m.attempts) for m in messages])
                held += messages
        elif verb in ("ack", "nack", "reject", "give_back", "later"):
            if held:
                message = held.pop(number % len(held))
                seen.append((verb, message.body))
                if verb == "later":
                    await message.nack(delay=0.0025)
                else:
                    await getattr(message, verb)(**({"delay": 0} if verb == "nack" else {}))
        elif verb == "clock":
            clock.advance(number * 1000.0)
        elif verb == "find":
            # Whether a delay that is over shows in a peek is a matter of timers.
            seen.append([(m.body, m.attempts) for m in await queue.find()])
        else:
            seen.append((verb, await (queue.purge() if verb == "purge" else dead.redrive())))
        await asyncio.sleep(0)
        stats = await queue.stats()
        seen.append((stats.waiting + stats.delayed, stats.in_flight, stats.size_bytes))
    stats = await queue.stats()
    seen.append((stats.put, stats.acked, stats.returned, stats.dead_lettered, stats.dropped))
    seen.append(sorted(m.body for m in await dead.peek(999)))
    return seen


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=20)
@given(steps=st.lists(STEP, max_size=25))
def test_the_same_as_the_engine(policy: str, steps: Any) -> None:
    async def run(url: str) -> Any:
        clock = ManualClock()
        async with posthouse.open(url, clock=clock, chance=lambda: 0.5) as broker:
            return await _play(broker, clock, policy, steps)

    with scratch() as directory:
        found = asyncio.run(run(f"sqlite:///{directory}/q.db"))
    assert found == asyncio.run(run("memory:"))
