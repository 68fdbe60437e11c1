"""How a life tells a witness what it does: words and plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from posthouse import Broker
from tests.lab.topics import TOPICS

Say: TypeAlias = Callable[..., None]
"""Takes one report: a word and its fields, all plain values. See `ledger.Ledger.take`."""


async def tell_bindings(broker: Broker, say: Say) -> None:
    """Say which bindings there are."""
    for topic in TOPICS:
        say("bindings", topic, await broker.topic(topic).bindings())
