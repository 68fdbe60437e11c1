"""Requests that end deliveries, or prolong them."""

from __future__ import annotations

from typing import Final

from posthouse.core.leases import BatchLease
from posthouse.core.state import holder_of
from posthouse.errors import BadArgument, LeaseExpired, PosthouseError, StorageFull
from posthouse.model import MAX_DELAY_S, NANOSECONDS
from posthouse.server.member import Member
from posthouse.wire.answers import Answer, Delivered, Done
from posthouse.wire.requests import AckEach, AckMany, GiveBack, Nack, Reject, Renew

MOST_NS: Final = int(MAX_DELAY_S * NANOSECONDS)
LEAST_NS: Final = 1_000_000


def ack_each(member: Member, request: AckEach) -> None:
    """Deliveries, each for itself; runs of what went well are answered together."""
    if not request.ids or len(request.tokens) != len(request.ids):
        raise BadArgument("an ack names one token for each of its messages, one at least")
    port = member.port(request.queue)
    begun = 0
    part = -1
    for part, (token, message_id) in enumerate(zip(request.tokens, request.ids, strict=True)):
        try:
            port.ack_one(token, message_id)
        except (LeaseExpired, StorageFull) as error:
            if part > begun:
                _done(member, request, begun, part - begun)
            member.failed(request.id, part, error)
            begun = part + 1
    if part + 1 > begun:
        _done(member, request, begun, part + 1 - begun)


def _done(member: Member, request: AckEach, part: int, count: int) -> None:
    reply = Done(request.id, part, count)
    if request.durable:
        port = member.port(request.queue)
        member.reply_when_durable(reply, port.last_wait(), port, 0)
    else:
        member.reply(reply)


def ack_many(member: Member, request: AckMany) -> None:
    """Messages of one delivery."""
    port = member.port(request.queue)
    refused: LeaseExpired | None = None
    try:
        group = port.ack_batch(request.token, request.ids, durable=request.durable)
    except LeaseExpired as error:
        refused, group = error, port.last_wait()
    if refused is not None:
        # The others are settled, and not more than accepted: whoever wants more asks again.
        member.failed(request.id, 0, refused)
    elif request.durable:
        member.reply_when_durable(Done(request.id), group, port, 0)
    else:
        member.done(request.id)


def nack(member: Member, request: Nack) -> None:
    """Give a message back as failed."""
    port = member.port(request.queue)
    delay_ns = request.delay_ns
    if delay_ns is not None:
        delay_ns = min(max(delay_ns, 0), MOST_NS)
    group = port.nack(request.token, request.message, delay_ns, request.error)
    member.reply_when_durable(Done(request.id), group, port, 0)


def reject(member: Member, request: Reject) -> None:
    """Send a message to the dead-letter queue."""
    port = member.port(request.queue)
    group = port.reject(request.token, request.message, request.reason, request.error)
    member.reply_when_durable(Done(request.id), group, port, 0)


def give_back(member: Member, request: GiveBack) -> None:
    """Undo deliveries of one token, what is still held of them."""
    port = member.port(request.queue)
    missing: list[int] = []
    text = ""
    for message_id in request.ids:
        try:
            port.give_back(request.token, message_id)
        except LeaseExpired as error:
            missing.append(message_id)
            text = text or str(error)
    if missing:
        member.failed(request.id, 0, LeaseExpired(text, missing))
    else:
        member.done(request.id)


def renewed(member: Member, request: Renew) -> list[int]:
    """Prolong leases; the tokens of those that are gone."""
    lost: list[int] = []
    for name, token, length_ns in request.leases:
        if not length_ns:
            continue  # it has run out, as far as the client knows: not prolonged, only known
        try:
            held = member.port(name).prolong(token, min(max(length_ns, LEAST_NS), MOST_NS))
        except PosthouseError:
            held = False  # not (or no longer) this client's to hold
        if not held:
            lost.append(token)
    return lost


def renew(member: Member, request: Renew) -> None:
    """The same as a request."""
    lost = renewed(member, request)
    if request.every:
        known = {token for _, token, _ in request.leases}
        for replies in member.kept.values():
            known.update(reply.token for reply in replies if isinstance(reply, Delivered))
        _return_others(member, known)
    member.reply(Answer(request.id, lost))


def _return_others(member: Member, known: set[int]) -> None:
    """What was on its way to the client when its connection broke."""
    holder = member.session.holder
    for queue in list(member.session.engine.state.queues.values()):
        for token, lease in list(queue.leases.items()):
            if holder_of(lease) != holder or token in known:
                continue
            ids = list(lease.pairs()) if isinstance(lease, BatchLease) else [lease[2][0]]
            for message_id in ids:
                member.port(queue.name).give_back(token, message_id)
