"""The last life: takes everything there is, and tells what it was."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from typing import Any, Final

from posthouse import Broker, Message
from tests.lab.process.bodies import told_key
from tests.lab.process.queues import queues_of
from tests.lab.process.telling import Say, tell_bindings

PATIENCE_S: Final = 40.0
"""All must be taken by then, seconds."""


async def drain(broker: Broker, say: Say, rich: tuple[str, ...] = ()) -> None:
    """Take and ack everything there is, and tell what it was.

    The broker's clock must be ahead of every due time: nothing may stay delayed. With ``rich``
    queues each delivery and each ack is told, so that order is judged here too; and then nothing
    is left.

    Raises:
        AssertionError: something cannot be taken.
    """
    await tell_bindings(broker, say)
    queues = queues_of(broker, rich)
    found: dict[str, list[list[Any]]] = {name: [] for name in queues}
    numbers = itertools.count(1)
    until = time.monotonic() + PATIENCE_S
    left = 1
    while left:
        left = 0
        for name, queue in queues.items():
            stats = await queue.stats()
            held = stats.waiting + stats.delayed + stats.in_flight
            left += held
            if not held:
                continue
            assert time.monotonic() < until, f"{name} cannot be emptied: {stats}"
            messages: list[Message[str]] = []
            with suppress(TimeoutError):  # it may have grown old, and be elsewhere
                messages = await queue.get_many(1000, timeout=0.2 if rich else 20.0)
            acks: list[int] = []
            for message in messages:
                key = told_key(message)
                if rich:
                    say("got", name, message.id, key, message.token, message.attempts)
                    acks.append(next(numbers))
                    fields = (name, message.id, message.token, True, None)
                    say("settle", acks[-1], "ack", *fields)
                else:
                    found[name].append([message.id, key, message.attempts - 1])
            await queue.ack_many(messages, durable=True)
            for number in acks:
                say("done", number, None)
    for name, rows in found.items():
        say("left", name, rows)
