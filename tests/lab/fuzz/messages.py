"""Messages of the protocol drawn from their types: any value that a field may have, odd ones too.

A new message, or a new field of one, is drawn with no change here.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from random import Random
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from posthouse.records import Traits
from posthouse.wire.answers import FromServer, Welcome
from posthouse.wire.requests import FromClient, Hello

CLIENTS: Final[tuple[type, ...]] = tuple(set(get_args(FromClient)) - {Hello})
SERVERS: Final[tuple[type, ...]] = tuple(set(get_args(FromServer)) - {Welcome})
NAMES: Final = ("q", "q", "q", "r", "", "../q", "q" * 300, "a.b", "q.dead", "\u202eq", "q\0")
INTEGERS: Final = (
    *(0, 0, 1, 1, 1, 2, 3, 7, 100, 255, 65_536, 100_000, 1 << 20, 10**9, 1 << 31, 1 << 40),
    *((1 << 63) - 1, 1 << 63, (1 << 64) - 1, -1, -5, -(1 << 31), -(1 << 63)),
)
FLOATS: Final = (0.0, 0.0, 0.001, 1.5, -1.0, 1e-300, 1e300, float("nan"), float("inf"))
TEXTS: Final = ("ack", "nack", "reject", "stats", "find", "body.n > 1", "id", "news", *NAMES)
SETTINGS: Final = ("max_messages", "dead_letter", "order", "retry", "rate", "ttl", "nonsense")
VERBS: Final = ("stats", "peek", "find", "purge", "redrive", "names", "bind", "move", "extend")
MOST_LONG: Final = 4

_hints: dict[type, dict[str, Any]] = {}


def draw(kind: type, random: Random) -> Any:
    """A message (or another struct) of a type."""
    hints = _hints.get(kind)
    if hints is None:
        hints = _hints[kind] = get_type_hints(kind)
    made = kind(**{name: value(hints[name], name, random) for name in kind.__struct_fields__})  # type: ignore[attr-defined]
    if hasattr(made, "token") and random.random() < 0.2:
        made.token = random.choice(INTEGERS)
    return made


def value(hint: Any, name: str, random: Random) -> Any:
    """Something that a field of this name and type may have."""
    drawn = _NAMED.get(name)
    if drawn is not None and random.random() < 0.8:
        return drawn(random)
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return value(random.choice(get_args(hint)), name, random)
    if origin is list:
        size = int(random.random() ** 3 * (MOST_LONG + 1))
        return [value(get_args(hint)[0], name, random) for _ in range(size)]
    if origin is tuple:
        return tuple(value(each, "", random) for each in get_args(hint))
    if origin is dict:
        keys = random.sample(SETTINGS, random.randrange(3))
        return {key: anything(random) for key in keys}
    if hint is Any:
        return anything(random)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return draw(hint, random)
    return _PLAIN[hint](random)


def anything(random: Random, depth: int = 0) -> Any:
    """Where the protocol says nothing about a value."""
    what = random.randrange(8 if depth < 3 else 6)
    if what == 6:
        return [anything(random, depth + 1) for _ in range(random.randrange(4))]
    if what == 7:
        return {random.choice(TEXTS): anything(random, depth + 1) for _ in range(2)}
    kinds = (int, float, str, bytes, bool, type(None))
    return _PLAIN[kinds[what]](random)


def _integer(random: Random) -> int:
    return random.choice(INTEGERS) if random.random() < 0.3 else random.randrange(1, 30)


def _traits(random: Random) -> Traits | None:
    return draw(Traits, random) if random.random() < 0.3 else None


_PLAIN: Final[dict[Any, Callable[[Random], Any]]] = {
    int: _integer,
    float: lambda random: random.choice(FLOATS),
    str: lambda random: random.choice(TEXTS),
    bytes: lambda random: random.randbytes(int(random.random() ** 4 * 300)),
    bool: lambda random: random.random() < 0.5,
    type(None): lambda random: None,
}
_NAMED: Final[dict[str, Callable[[Random], Any]]] = {
    "queue": lambda random: random.choice(NAMES[:6]),
    "verb": lambda random: random.choice(VERBS),
    "traits": _traits,
    "timeout_s": lambda random: random.choice((0.0, 0.001, None)),
}
