"""The verbs that are asked for by name: figures, finding, acting on sets, topics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import msgspec

from posthouse.core.filters import Filter, filter_of
from posthouse.core.router import check_pattern
from posthouse.errors import BadArgument
from posthouse.model import MAX_BATCH_MESSAGES, QueuePolicy, QueueStats, check_queue_name
from posthouse.server.member import Member
from posthouse.wire.answers import Answer
from posthouse.wire.requests import Ask, Declare

Verb: TypeAlias = Callable[[Member, str, list[Any]], Awaitable[Any]]

_FIELDS: Final = {field.name: field.type for field in msgspec.structs.fields(QueuePolicy)}
DEFAULT: Final = QueuePolicy()
MOST_POLICIES: Final = 1_000
_ORDERS: Final = ("id", "-id", "priority", "-priority")


def declare(member: Member, request: Declare) -> None:
    """A queue with settings; answers its policy."""
    check_queue_name(request.queue)
    given: dict[str, Any] = {}
    for name, value in request.given.items():
        kind = _FIELDS.get(name)
        if kind is None:
            raise BadArgument(f"a queue has no setting {name!r} on this server")
        try:
            given[name] = value if value is None else msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise BadArgument(f"the setting {name!r} is wrong: {error}") from error
    port = member.session.port(request.queue, given) if given else member.port(request.queue)
    member.reply(Answer(request.id, msgspec.to_builtins(port.policy())))


def ask(member: Member, request: Ask) -> None:
    """Any verb of the table."""
    verb = _VERBS.get(request.verb)
    if verb is None:
        raise BadArgument(f"this server has no verb {request.verb[:50]!r}")

    async def work() -> None:
        try:
            if request.verb in _WHOLE:
                await member.house.put_back(request.queue, every=True)
            value = await verb(member, request.queue, request.args)
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(error, BadArgument):
                raise
            raise BadArgument(f"{request.verb} has wrong arguments: {error}") from error
        member.reply(Answer(request.id, value))

    member.spawn(request.id, 0, work)


def _where(text: Any) -> Filter | None:
    return None if text is None else filter_of(text)


def _count(value: Any) -> int:
    return int(msgspec.convert(value, int))


def _figures(member: Member, stats: QueueStats) -> Any:
    # What lies unseen with a client is leased to it, and waits all the same.
    unseen = min(member.house.unseen(stats.name), stats.in_flight)
    waiting, in_flight = stats.waiting + unseen, stats.in_flight - unseen
    return msgspec.to_builtins(msgspec.structs.replace(stats, waiting=waiting, in_flight=in_flight))


async def _stats(member: Member, queue: str, _: list[Any]) -> Any:
    return _figures(member, await member.port(queue).stats())


async def _peek(member: Member, queue: str, args: list[Any]) -> Any:
    most = min(_count(args[0]), MAX_BATCH_MESSAGES)
    return _bounded(member, await member.port(queue).peek(most))[0]


async def _find(member: Member, queue: str, args: list[Any]) -> Any:
    where, order, most, after = args
    if order not in _ORDERS:
        raise BadArgument(f"order is {order!r}; it must be one of {', '.join(_ORDERS)}")
    start = None if after is None else msgspec.convert(after, tuple[int, ...])
    rows, last = await member.port(queue).find(
        _where(where), order, min(_count(most), MAX_BATCH_MESSAGES), start
    )
    fitting, whole = _bounded(member, rows)
    if not whole:
        last = _after(order, fitting[-1][0])
    return fitting, last


def _after(order: str, entry: Any) -> tuple[int, ...]:
    number = entry[0]
    key = number if order in ("id", "priority") else -number
    if "priority" not in order:
        return (key,)
    priority = 0 if entry[4] is None else entry[4].priority
    return (priority, number) if order == "priority" else (-priority, number)


def _bounded(member: Member, rows: list[Any]) -> tuple[list[Any], bool]:
    """As many rows as an answer may hold, and whether that is all; one at least."""
    left = member.limits.frame_bytes // 2
    for number, (entry, _) in enumerate(rows):
        left -= len(entry[2]) + len(entry[3]) + 200
        if left < 0 and number:
            return rows[:number], False
    return rows, True


async def _delete(member: Member, queue: str, args: list[Any]) -> Any:
    return await member.port(queue).delete(_where(args[0]))


async def _delay(member: Member, queue: str, args: list[Any]) -> Any:
    return await member.port(queue).delay(_where(args[0]), _count(args[1]))


async def _move(member: Member, queue: str, args: list[Any]) -> Any:
    return await member.port(queue).move(_where(args[0]), check_queue_name(args[1]))


async def _redrive_found(member: Member, queue: str, args: list[Any]) -> Any:
    return await member.port(queue).redrive_found(_where(args[0]))


async def _purge(member: Member, queue: str, _: list[Any]) -> Any:
    return await member.port(queue).purge()


async def _redrive(member: Member, queue: str, args: list[Any]) -> Any:
    return await member.port(queue).redrive(_count(args[0]))


async def _bind(member: Member, queue: str, args: list[Any]) -> Any:
    await member.port(queue).bind(check_queue_name(args[0]), check_pattern(args[1]))


async def _unbind(member: Member, queue: str, args: list[Any]) -> Any:
    await member.port(queue).unbind(check_queue_name(args[0]), check_pattern(args[1]))


async def _join(member: Member, queue: str, _: list[Any]) -> Any:
    await member.port(queue).joined()


async def _names(member: Member, _: str, __: list[Any]) -> Any:
    return member.session.queue_names()


async def _all_stats(member: Member, _: str, __: list[Any]) -> Any:
    return [_figures(member, each) for each in member.session.stats()]


async def _policies(member: Member, _: str, __: list[Any]) -> Any:
    found: dict[str, Any] = {}
    for name in member.session.queue_names()[:MOST_POLICIES]:
        policy = member.port(name).policy()
        if policy != DEFAULT:
            found[name] = msgspec.to_builtins(policy)
    return found


async def _bindings(member: Member, _: str, args: list[Any]) -> Any:
    return member.session.bindings(args[0])


async def _flush(member: Member, queue: str, _: list[Any]) -> Any:
    port = member.port(queue)
    group = port.last_wait()
    if group is not None:
        await port.durable(group)


async def _extend(member: Member, queue: str, args: list[Any]) -> Any:
    await member.port(queue).extend(_count(args[0]), max(_count(args[1]), 1_000_000))


_VERBS: Final[dict[str, Verb]] = {
    "all_stats": _all_stats,
    "bind": _bind,
    "bindings": _bindings,
    "delay": _delay,
    "delete": _delete,
    "extend": _extend,
    "find": _find,
    "flush": _flush,
    "join": _join,
    "move": _move,
    "names": _names,
    "peek": _peek,
    "policies": _policies,
    "purge": _purge,
    "redrive": _redrive,
    "redrive_found": _redrive_found,
    "stats": _stats,
    "unbind": _unbind,
}
_WHOLE: Final = frozenset(
    {"delay", "delete", "find", "move", "peek", "purge", "redrive", "redrive_found"}
)
"""What looks at all that waits: what lies unseen with clients comes back first."""
VERBS: Final = tuple(_VERBS)
"""The names of all."""
