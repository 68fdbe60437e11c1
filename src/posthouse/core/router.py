"""Topics: which queues a message's routing key leads to. Pure.

Patterns are those of an AMQP 0-9-1 topic exchange: words between dots, ``*`` stands for exactly
one word and ``#`` for any number of them, none included.
"""

from __future__ import annotations

from typing import Final

from posthouse.errors import BadArgument
from posthouse.model import MAX_KEY_BYTES, check_text

EVERYTHING: Final = "#"
_REMEMBERED_KEYS: Final = 1024


def check_pattern(pattern: str) -> str:
    """Return ``pattern`` if it is one.

    Raises:
        BadArgument: it is empty, too long, or has a wildcard inside a word.
    """
    check_text("a pattern", pattern, MAX_KEY_BYTES)
    for word in pattern.split("."):
        if len(word) > 1 and ("*" in word or "#" in word):
            raise BadArgument(f"in pattern {pattern!r}, a wildcard is a word of its own: {word!r}")
    return pattern


def matches(pattern: list[str], words: list[str]) -> bool:
    """Whether a pattern's words match a routing key's.

    A table of the longest kind a pattern can need: its cost is the product of both lengths, which
    are bounded by the length of a key, whatever the number of wildcards.
    """
    # row[i]: the pattern so far matches the first i words
    row = [True] + [False] * len(words)
    for part in pattern:
        if part == "#":
            reached = False
            for index, value in enumerate(row):
                reached = reached or value
                row[index] = reached
            continue
        row = [False] + [row[index] and part in ("*", word) for index, word in enumerate(words)]
    return row[-1]


class Router:
    """The bindings of all topics."""

    __slots__ = ("_bindings", "_found")

    def __init__(self) -> None:
        self._bindings: dict[str, dict[tuple[int, str], list[str]]] = {}
        self._found: dict[tuple[str, str], list[int]] = {}

    def bind(self, topic: str, queue: int, pattern: str) -> bool:
        """Bind a queue; False if it was bound so already."""
        bindings = self._bindings.setdefault(topic, {})
        if (queue, pattern) in bindings:
            return False
        bindings[queue, pattern] = pattern.split(".")
        self._found.clear()
        return True

    def unbind(self, topic: str, queue: int, pattern: str) -> bool:
        """End a binding; False if there was none."""
        bindings = self._bindings.get(topic, {})
        if bindings.pop((queue, pattern), None) is None:
            return False
        if not bindings:
            del self._bindings[topic]
        self._found.clear()
        return True

    def route(self, topic: str, key: str) -> list[int]:
        """The numbers of the queues that a message with this routing key goes to, each once."""
        found = self._found.get((topic, key))
        if found is None:
            words = key.split(".") if key else []
            bindings = self._bindings.get(topic, {})
            found = sorted({queue for (queue, _), p in bindings.items() if matches(p, words)})
            if len(self._found) >= _REMEMBERED_KEYS:
                self._found.clear()
            self._found[topic, key] = found
        return found

    def bindings(self, topic: str | None = None) -> list[tuple[str, int, str]]:
        """All bindings (of one topic): (topic, queue, pattern)."""
        return sorted(
            (name, queue, pattern)
            for name, bindings in self._bindings.items()
            for queue, pattern in bindings
            if topic in (None, name)
        )
