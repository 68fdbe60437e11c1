"""Lives one after the other, each ended by a crash, and one history over all of them.

Where `explore` looks at all that a crash may leave of one life, a saga follows one way through
several, and asks the history checker: tokens, order, delays, attempts, limits, nothing lost.
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import Any

from posthouse.message import Message
from posthouse.testing.clock import START_NS
from posthouse.testing.crashes import crash_states
from posthouse.testing.history import History
from posthouse.testing.simdisk import Cut, SimDisk
from posthouse.testing.simloop import SimLoop
from posthouse.testing.trace import Delivered, Event, Restarted
from tests.lab.disk.bodies import story_name
from tests.lab.disk.facts import NEVER
from tests.lab.disk.judge import salts
from tests.lab.disk.lives import Base, Life, draw_options, open_broker
from tests.lab.disk.queues import DEAD, FLEETING, LIMITS, MAX_IN_FLIGHT, ORDER, RATE, Names
from tests.lab.disk.timeline import Timeline
from tests.lab.topics import TOPICS

LOOKS = 1000
"""The last look takes all that it can so often, a second apart."""


def saga(seed: int) -> tuple[list[str], History, int]:
    """One saga: (broken promises, its history, lives)."""
    events: list[Event] = []
    try:
        count = _saga(seed, events)
    except Exception:
        # Opening or using what a crash left failed: that is a finding.
        return [traceback.format_exc()], History(events=events), 1
    history = History(events=events)
    problems = history.problems(
        max_attempts=LIMITS,
        dead=DEAD,
        drops=FLEETING,
        max_in_flight=MAX_IN_FLIGHT,
        rate=RATE,
        order=ORDER,
    )
    return problems, history, count


def _saga(seed: int, events: list[Event]) -> int:
    rng = Random(f"saga {seed}")
    options = draw_options(rng)
    names, now_ns = Names(), START_NS
    disk = SimDisk(record=True)
    count = rng.randrange(2, 5)
    # A loss of power takes with it what earlier lives left in the page cache: the history does
    # not know how many attempts that may be. `explore` mixes them.
    only_kills = rng.random() < 0.4
    for _ in range(count):
        options = replace(options, salt=salts(rng.getrandbits(32)))
        life = Life(disk, options, Timeline(), Base(), now_ns, earlier=events)
        life.watch = False
        life.live(rng, names, rng.choice((10, 40, 80)))
        now_ns = life.ended_ns
        disk, events[:] = _end(life, rng, only_kills)
    history = History(events=events)
    loop = SimLoop(rng.getrandbits(32), start_ns=now_ns)
    try:
        loop.run(_look(disk, replace(options, salt=salts(seed)), loop, rng, history))
    finally:
        loop.close()
    events[:] = history.events
    return count


def _end(life: Life, rng: Random, only_kills: bool) -> tuple[SimDisk, list[Event]]:
    """Crash the life somewhere, or let it end: the disk then, and the history."""
    last = life.disk.cut("the end")
    if life.closed and rng.random() < 0.7:
        history = life.history.until(last.index)
        history.add(Restarted("close"))
        return SimDisk.after_kill(last), history.events
    # Not while a delivery is being written: the history has no word for one that nobody saw.
    writing = {
        stamp - 1
        for stamp, event in zip(life.history.stamps, life.history.events)
        if isinstance(event, Delivered)
    }
    # Nor while the broker is being closed, which gives back what is held.
    until = life.closing_at if life.closing_at != NEVER else last.index + 1
    cuts = [cut for cut in life.disk.cuts if cut.index not in writing and cut.index < until]
    cut: Cut = rng.choice(cuts or [last])
    history = life.history.until(cut.index)
    if only_kills or life.options.sync != "commit":
        history.add(Restarted("kill"))
        return SimDisk.after_kill(cut), history.events
    history.add(Restarted("crash"))
    states = list(crash_states(cut, rng, tears=2, subsets=1))
    return SimDisk(rng.choice(states).image, record=True), history.events


async def _look(
    disk: SimDisk, options: object, loop: SimLoop, rng: Random, history: History
) -> None:
    """Take all that is there, and write down what remains."""
    broker = await open_broker(disk, options, loop, rng)  # type: ignore[arg-type]
    await asyncio.sleep(400)
    for topic in TOPICS:
        history.bindings(topic, await broker.topic(topic).bindings())
    names = await broker.queue_names()
    found: dict[str, list[tuple[str, str, int]]] = {name: [] for name in names}
    for _ in range(LOOKS):
        left = 0
        for name in names:
            queue = broker.queue(name)
            messages: list[Message[Any]] = []
            with suppress(TimeoutError):
                # A limit, or a key, may hold up some of what waits until the rest is acked.
                while not queue.empty():
                    messages += await queue.get_many(100, timeout=0.0, visibility_timeout=3600)
            found[name] += [(m.id, story_name(m.raw, name), m.attempts - 1) for m in messages]
            await queue.ack_many(messages)
            stats = await queue.stats()
            left += stats.waiting + stats.delayed + stats.in_flight
        if not left:
            break
        await asyncio.sleep(1.0)
    for name in names:
        history.remaining(name, found[name])
    await broker.close()
