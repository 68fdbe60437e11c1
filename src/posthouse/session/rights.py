"""Rights, enforced: a port whose verbs ask first. See docs/design/access.md for the rules.

The hot path of a session without rights has nothing of this: it is given a plain `Port`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

from posthouse.access.rights import Right, Rights
from posthouse.core.filters import Filter
from posthouse.core.leases import BatchLease
from posthouse.core.queue import QueueState
from posthouse.core.transaction import PutStep, Step
from posthouse.engine import Engine
from posthouse.errors import BadArgument
from posthouse.journal.group import Group
from posthouse.lane import Lane
from posthouse.model import QueuePolicy
from posthouse.records import Entry, Traits
from posthouse.session.named import NamedPort
from posthouse.session.port import Port

P = ParamSpec("P")
R = TypeVar("R")

GUARDED: Final[dict[str, Right | None]] = {}
"""The right that each guarded verb takes; None: any right on the queue."""

UNGUARDED: Final = frozenset(
    {"depart", "durable", "last_wait", "now_ns", "put_refusal", "take_refusal", "tell"}
)
"""Verbs that tell and change nothing, or only end a wait."""


@dataclass(slots=True)
class PublishStep(PutStep):
    """A put that a publish to a topic came to: the right was asked for there."""

    topic: str = ""


def guarded(
    right: Right | None, verb: Callable[Concatenate[Any, P], R]
) -> Callable[Concatenate[GuardedPort, P], R]:
    """The verb, asking for a right on the port's queue first."""
    GUARDED[verb.__name__] = right

    @wraps(verb)
    def ask(port: GuardedPort, /, *args: P.args, **kwargs: P.kwargs) -> R:
        port.ask(right)
        return verb(port, *args, **kwargs)

    return ask


def guarded_async(
    right: Right | None, verb: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
) -> Callable[Concatenate[GuardedPort, P], Coroutine[Any, Any, R]]:
    """The same for a coroutine's function."""
    GUARDED[verb.__name__] = right

    @wraps(verb)
    async def ask(port: GuardedPort, /, *args: P.args, **kwargs: P.kwargs) -> R:
        port.ask(right)
        return await verb(port, *args, **kwargs)

    return ask


def check_traits(traits: Traits | None) -> None:
    """Raise if a put would carry what only the broker gives: a dead letter's story, a place.

    Raises:
        BadArgument: it would; with it, a redrive would be a put on any queue.
    """
    if traits is not None and (traits.death or traits.rank):
        raise BadArgument("a put cannot say where its message died, nor its place in the queue")


class Entitled(Protocol):
    """A session with rights; they are others when its user logs in anew."""

    rights: Rights | None


class GuardedPort(Port):
    """All verbs of one queue, each refused with `AccessDenied` without the right to it."""

    def __init__(self, engine: Engine, lane: Lane, holder: int, whose: Entitled) -> None:
        super().__init__(engine, lane, holder)
        self._whose = whose

    @property
    def _rights(self) -> Rights:
        rights = self._whose.rights
        assert rights is not None, "a session's rights are replaced, never taken off"
        return rights

    def ask(self, right: Right | None) -> None:
        """Raise AccessDenied unless the session has this right (None: any) on the queue."""
        if right is None:
            self._rights.check_any(self._state.name)
        else:
            self._rights.check(right, self._state.name)

    # put

    put_plain = guarded("put", Port.put_plain)
    put_one_waiting = guarded_async("put", Port.put_one_waiting)
    put_many_waiting = guarded_async("put", Port.put_many_waiting)

    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> tuple[int, Group | None] | None:
        """See `Port.put_one`. Raises AccessDenied without "put"."""
        self.ask("put")
        check_traits(traits)
        return super().put_one(kind, body, headers, traits)

    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> tuple[int, Group | None] | None:
        """See `Port.put_many`. Raises AccessDenied without "put"."""
        self.ask("put")
        check_traits(traits)
        return super().put_many(kinds, bodies, headers, traits)

    def put_step(self, kind: int, body: bytes, headers: bytes, traits: Traits | None) -> PutStep:
        """See `Port.put_step`. Raises AccessDenied without "put"."""
        self.ask("put")
        check_traits(traits)
        return super().put_step(kind, body, headers, traits)

    # get, and what follows from it

    take_one = guarded("get", Port.take_one)
    take_one_from_disk = guarded("get", Port.take_one_from_disk)
    take_many = guarded("get", Port.take_many)
    take_one_waiting = guarded_async("get", Port.take_one_waiting)
    take_many_waiting = guarded_async("get", Port.take_many_waiting)
    feed = guarded("get", Port.feed)
    reserve = guarded("get", Port.reserve)
    lease_reserved = guarded("get", Port.lease_reserved)
    readable = guarded_async("get", Port.readable)
    arrival = guarded("get", Port.arrival)
    select = guarded_async("get", Port.select)
    ack_one = guarded("get", Port.ack_one)
    ack_durably = guarded("get", Port.ack_durably)
    ack_batch = guarded("get", Port.ack_batch)
    ack_step = guarded("get", Port.ack_step)
    nack = guarded("get", Port.nack)
    nack_step = guarded("get", Port.nack_step)
    reject = guarded("get", Port.reject)
    reject_step = guarded("get", Port.reject_step)
    give_back = guarded("get", Port.give_back)
    extend = guarded_async("get", Port.extend)
    prolong = guarded("get", Port.prolong)

    def _take_of(
        self, entries: list[Entry], most_bytes: int, lease_ns: int
    ) -> tuple[int, BatchLease] | None:
        # `select` may have waited for hours since it asked.
        self.ask("get")
        return super()._take_of(entries, most_bytes, lease_ns)

    def holds(self, token: int, message_id: int) -> bool:
        """See `Port.holds`; False without "get"."""
        return "get" in self._rights.on(self._state.name) and super().holds(token, message_id)

    # browse

    stats = guarded_async("browse", Port.stats)
    peek = guarded_async("browse", Port.peek)
    find = guarded_async("browse", Port.find)

    # any right

    live = guarded(None, Port.live)
    waiting = guarded(None, Port.waiting)
    is_full = guarded(None, Port.is_full)
    policy = guarded(None, Port.policy)
    joined = guarded_async(None, Port.joined)

    # manage

    delete = guarded_async("manage", Port.delete)
    delay = guarded_async("manage", Port.delay)
    purge = guarded_async("manage", Port.purge)
    redrive = guarded_async("manage", Port.redrive)
    redrive_found = guarded_async("manage", Port.redrive_found)
    unbind = guarded_async("manage", Port.unbind)
    shut_down = guarded("manage", Port.shut_down)

    async def move(self, where: Filter | None, target: str) -> int:
        """See `Port.move`. Raises AccessDenied without "manage" here and "put" on the target."""
        self.ask("manage")
        self._rights.check("put", target)
        if target not in self._engine.state.by_name:
            self._rights.check("manage", target)
        return await super().move(where, target)

    async def bind(self, topic: str, pattern: str) -> None:
        """See `Port.bind`. Raises AccessDenied without "manage" here and "get" on the topic."""
        self.ask("manage")
        self._rights.check("get", topic)
        await super().bind(topic, pattern)


class GuardedNamedPort(GuardedPort, NamedPort):
    """The same for one put in the name of a producer outside."""

    def __init__(
        self,
        engine: Engine,
        lane: Lane,
        holder: int,
        whose: Entitled,
        producer: int,
        sequence: int,
    ) -> None:
        NamedPort.__init__(self, engine, lane, holder, producer, sequence)
        self._whose = whose


def check_declaration(
    rights: Rights, name: str, known: QueueState | None, policy: QueuePolicy
) -> None:
    """Raise unless the user may declare the queue so.

    It takes "manage" to make a queue or to change its policy, and "put" on the queue that a policy
    names for its dead letters: else a reject would be a put there.

    Raises:
        AccessDenied: the user may not.
    """
    if known is not None and policy == known.policy:
        return
    rights.check("manage", name)
    letters = policy.dead_letter
    if letters not in (None, "", known.policy.dead_letter if known is not None else "", name):
        rights.check("put", str(letters))


def check_steps(rights: Rights, steps: list[Step]) -> None:
    """Raise unless the user still may do all of a transaction's steps.

    Raises:
        AccessDenied: the user may not; nothing was done.
    """
    for step in steps:
        if isinstance(step, PublishStep):
            rights.check("put", step.topic)
        elif isinstance(step, PutStep):
            rights.check("put", step.queue.name)
        else:
            rights.check("get", step.queue.name)


def published(topic: str, steps: list[Step]) -> list[Step]:
    """The puts that a publish came to, each with the topic where its right was asked for."""
    marked: list[Step] = []
    for step in steps:
        assert isinstance(step, PutStep)
        marked.append(
            PublishStep(
                step.queue, step.kind, step.body, step.headers, step.traits, step.shared, topic
            )
        )
    return marked
