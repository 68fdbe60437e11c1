"""Topics, routing keys and patterns that the laboratory's programs use, and what matches what.

A table, written by hand: the product's own matching is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TOPICS: Final = ("t", "u")
KEYS: Final = ("", "eu", "eu.new", "us.new")
MATCHES: Final[dict[str, frozenset[str]]] = {
    "#": frozenset({"", "eu", "eu.new", "us.new"}),
    "eu.*": frozenset({"eu.new"}),
    "*.new": frozenset({"eu.new", "us.new"}),
    "eu.#": frozenset({"eu", "eu.new"}),
}
"""Pattern -> the routing keys, of those that are used, that it matches."""

PUBLISHED: Final = "p"
"""So begins the name of a body that goes to many queues."""


def routes(bindings: Iterable[tuple[str, str]], key: str) -> list[str]:
    """The queues of these (queue, pattern) that a message should go to, sorted."""
    return sorted({queue for queue, pattern in bindings if key in MATCHES[pattern]})


def copy_name(name: str, queue: str) -> str:
    """What a history calls the message that a body of this name is in the queue it was put to."""
    return f"{name}@{queue}" if name.startswith(PUBLISHED) else name
