"""Requests of producers."""

from __future__ import annotations

import asyncio

from posthouse.core.transaction import Step
from posthouse.errors import BadArgument, UnknownOutcome
from posthouse.records import Publication, Traits
from posthouse.server.member import Member
from posthouse.session import Port
from posthouse.session.named import named
from posthouse.wire.answers import Answer, Placed
from posthouse.wire.requests import (
    Commit,
    Publish,
    PublishStep,
    PutEach,
    PutMany,
    PutOne,
    PutStep,
    SettleStep,
)


def put_each(member: Member, request: PutEach) -> None:
    """Plain messages, each for itself; all at once where there is room for all."""
    port = member.port(request.queue)
    bodies, kinds, sequence = request.bodies, request.kinds, request.sequence
    count = len(bodies)
    if not count or (isinstance(kinds, list) and len(kinds) != count):
        raise BadArgument("a put names one kind for all its bodies, or one for each")
    if request.again:
        _each_again(member, port, request)
        return
    engine = member.session.engine
    placed = None
    if request.queue not in member.lined:
        try:
            with named(engine, member.producer, sequence):
                placed = port.put_many(kinds, bodies)
        except BadArgument:
            pass  # let each find out for itself
    if placed is not None:
        engine.state.producers.note(member.producer, sequence, count, placed[0])
        reply = Placed(request.id, placed[0], 0, count)
        member.reply_when_durable(reply, placed[1], port, sum(map(len, bodies)))
        return
    for part in range(count):
        _one_of_each(member, port, request, part)


def _one_of_each(member: Member, port: Port, request: PutEach, part: int) -> None:
    kind = request.kinds if isinstance(request.kinds, int) else request.kinds[part]
    sequence = request.sequence + part
    one = PutOne(request.id, request.queue, sequence, kind, request.bodies[part])
    _put_one(member, port, one, part)


def _each_again(member: Member, port: Port, request: PutEach) -> None:
    find = member.session.engine.state.producers.find
    for part in range(len(request.bodies)):
        known = find(member.producer, request.sequence + part)
        if known is None:
            _one_of_each(member, port, request, part)
        else:
            _known(member, port, Placed(request.id, known, part))


def _known(member: Member, port: Port, reply: Placed) -> None:
    """It was stored before; that it is on disk has still to be waited for."""
    member.reply_when_durable(reply, port.last_wait(), port, 0)


def put_one(member: Member, request: PutOne) -> None:
    """One message, with all that it may have."""
    _check_traits(request.traits)
    port = member.port(request.queue)
    if request.again:
        known = member.session.engine.state.producers.find(member.producer, request.sequence)
        if known is not None:
            _known(member, port, Placed(request.id, known))
            return
    _put_one(member, port, request, 0)


def _put_one(member: Member, port: Port, request: PutOne, part: int) -> None:
    lone = member.session.named_port(request.queue, member.producer, request.sequence)
    placed = None
    if request.queue not in member.lined:
        try:
            placed = lone.put_one(request.kind, request.body, request.headers, request.traits)
        except Exception as error:
            member.failed(request.id, part, error)
            return
    size = len(request.body) + len(request.headers)
    if placed is not None:
        member.reply_when_durable(Placed(request.id, placed[0], part), placed[1], port, size)
        return

    async def wait() -> None:
        number, group = await lone.put_one_waiting(
            request.kind, request.body, request.headers, request.traits, request.timeout_s
        )
        member.reply_when_durable(Placed(request.id, number, part), group, port, size)

    member.spawn(request.id, part, wait, size, request.queue)


def _check_traits(traits: Traits | None) -> None:
    if traits is not None and (traits.death or traits.rank):
        raise BadArgument("where a message died, and its place in its queue, is not a put's to say")


def put_many(member: Member, request: PutMany) -> None:
    """A batch, all of it or nothing."""
    port = member.port(request.queue)
    kinds, bodies = request.kinds, request.bodies
    count = len(bodies)
    if not count or (isinstance(kinds, list) and len(kinds) != count):
        raise BadArgument("a put names one kind for all its bodies, or one for each")
    _check_traits(request.traits)
    if request.traits is not None and request.traits.dedup:
        raise BadArgument("a batch has no dedup id: put its messages one by one")
    if request.again:
        known = member.session.engine.state.producers.find(member.producer, request.sequence)
        if known is not None:
            _known(member, port, Placed(request.id, known, 0, 1))
            return
    placed = None
    if request.queue not in member.lined:
        engine = member.session.engine
        with named(engine, member.producer, request.sequence):
            placed = port.put_many(kinds, bodies, request.headers, request.traits)
    size = sum(map(len, bodies))
    if placed is not None:
        engine.state.producers.note(member.producer, request.sequence, count, placed[0])
        member.reply_when_durable(Placed(request.id, placed[0]), placed[1], port, size)
        return

    lone = member.session.named_port(request.queue, member.producer, request.sequence)

    async def wait() -> None:
        number, group = await lone.put_many_waiting(
            kinds, bodies, request.headers, request.traits, request.timeout_s
        )
        member.reply_when_durable(Placed(request.id, number), group, port, size)

    member.spawn(request.id, 0, wait, size, request.queue)


def commit(member: Member, request: Commit) -> None:
    """A transaction."""
    session = member.session
    if request.again:
        producers = session.engine.state.producers
        count = _certain_puts(request)
        ids = [producers.find(member.producer, request.sequence + n) for n in range(count)]
        if count and None not in ids:
            _answer_durably(member, request, ids)
            return
        if count == 0:
            raise UnknownOutcome(
                "the server was restarted before it answered: the transaction may have been "
                "committed or not"
            )
    steps: list[Step] = []
    for step in request.steps:
        steps += _step(member, step)

    async def work() -> None:
        decided: list[bool] = []
        committing = asyncio.ensure_future(
            session.commit(
                steps,
                request.timeout_s,
                lambda: decided.append(True),
                (member.producer, request.sequence),
            )
        )
        try:
            ids = await asyncio.shield(committing)
        except asyncio.CancelledError:
            if not decided:
                committing.cancel()
            ids = await committing  # what is decided is answered, however late
        member.reply(Answer(request.id, ids))

    member.spawn(request.id, 0, work)


def _certain_puts(request: Commit) -> int:
    """How many puts it has, as far as that does not depend on what is bound or remembered."""
    puts = [step for step in request.steps if isinstance(step, PutStep)]
    if any(isinstance(step, PublishStep) for step in request.steps):
        return 0
    if any(step.traits is not None and step.traits.dedup for step in puts):
        return 0
    return len(puts)


def _answer_durably(member: Member, request: Commit, ids: list[int | None]) -> None:
    port = member.port(next(step.queue for step in request.steps if isinstance(step, PutStep)))

    async def wait() -> None:
        group = port.last_wait()
        if group is not None:
            await port.durable(group)
        member.reply(Answer(request.id, ids))

    member.spawn(request.id, 0, wait)


def _step(member: Member, step: PutStep | SettleStep | PublishStep) -> list[Step]:
    if isinstance(step, (PutStep, PublishStep)):
        _check_traits(step.traits)
    if isinstance(step, PutStep):
        port = member.port(step.queue)
        return [port.put_step(step.kind, step.body, step.headers, step.traits)]
    if isinstance(step, PublishStep):
        return member.session.publish_steps(_publication(step))
    port = member.port(step.queue)
    if step.verb == "ack":
        return [port.ack_step(step.token, step.message)]
    if step.verb == "nack":
        return [port.nack_step(step.token, step.message, step.delay_ns, step.error)]
    if step.verb == "reject":
        return [port.reject_step(step.token, step.message, step.reason, step.error)]
    raise BadArgument(f"a transaction has no step {step.verb!r}")


def _publication(told: Publish | PublishStep) -> Publication:
    return Publication(
        told.topic, told.key, told.kind, told.body, told.headers, told.traits, told.unroutable
    )


def publish(member: Member, request: Publish) -> None:
    """A message for all queues that are bound."""
    _check_traits(request.traits)

    async def work() -> None:
        ids = await member.session.publish(_publication(request), request.timeout_s)
        member.reply(Answer(request.id, ids))

    member.spawn(request.id, 0, work, len(request.body))
