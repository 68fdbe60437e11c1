"""Requests of consumers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from posthouse.core.filters import filter_of
from posthouse.core.leases import BatchLease
from posthouse.errors import BadArgument, QueueShutDown
from posthouse.model import MAX_BATCH_MESSAGES, MAX_BODY_BYTES, NANOSECONDS, check_seconds
from posthouse.records import Entry
from posthouse.server.member import Member
from posthouse.server.waits import WaitingGet
from posthouse.session import Port
from posthouse.wire.answers import Delivered
from posthouse.wire.requests import Get

MOST_LEASE_NS: Final = 1 << 62
DRAIN_LOOK_S: Final = 0.5


def get(member: Member, request: Get, starved: Callable[[str], None]) -> None:
    """Take now, or wait; ``starved`` is told the queue's name when it has to wait."""
    port = member.port(request.queue)
    most, lease_ns = request.most, request.lease_ns
    if not 1 <= most <= MAX_BATCH_MESSAGES or not 0 <= lease_ns < MOST_LEASE_NS:
        raise BadArgument(f"a get takes from 1 to {MAX_BATCH_MESSAGES:,} messages")
    # One message more than the bytes may be in it: a frame has to hold that too.
    room = member.limits.frame_bytes - MAX_BODY_BYTES
    most_bytes = max(1, min(request.most_bytes, room))
    if request.where is None:
        if most == 1:
            taken = port.take_one(lease_ns)
            if taken is not None:
                _deliver_one(member, request, port, taken)
                return
        else:
            batch = port.take_many(most, most_bytes, lease_ns)
            if batch is not None:
                _deliver(member, request, port, batch)
                return
        if request.drain and port.waiting() + member.house.unseen(request.queue) <= 0:
            raise QueueShutDown(f"queue {request.queue!r} was shut down in this process")
        if request.timeout_s == 0 and not port.waiting() and not member.house.unseen(request.queue):
            raise TimeoutError("no message waits")
        work = partial(_wait, member, request, port, most_bytes)
    else:
        work = partial(_select, member, request, port, most_bytes)
    starved(request.queue)
    spawn = partial(member.spawn, request.id, 0, work)
    if request.where is not None or request.drain or request.timeout_s == 0:
        spawn()
        return
    if request.timeout_s is not None:
        check_seconds("timeout", request.timeout_s)
    WaitingGet(member, request, port, most_bytes, _deliver, spawn).begin()


async def _wait(member: Member, request: Get, port: Port, most_bytes: int) -> None:
    lease_ns, timeout_s = request.lease_ns, request.timeout_s
    # Something may have come since it was asked for; the waiting forms look only when woken.
    batch = port.take_many(request.most, most_bytes, lease_ns)
    if batch is None and (request.timeout_s == 0 or request.drain):
        await member.house.put_back(request.queue, every=False)
        batch = port.take_many(request.most, most_bytes, lease_ns)
    if batch is None and request.drain:
        batch = await _wait_for_rest(request, port, most_bytes)
    elif batch is None:
        batch = await port.take_many_waiting(request.most, most_bytes, lease_ns, timeout_s)
    _deliver(member, request, port, batch)
    member.flush()


async def _wait_for_rest(request: Get, port: Port, most_bytes: int) -> tuple[int, BatchLease]:
    # What waits may be held up by a key or a limit; once nothing waits it is over.
    while port.waiting() > 0:
        try:
            return await port.take_many_waiting(
                request.most, most_bytes, request.lease_ns, DRAIN_LOOK_S
            )
        except TimeoutError:
            continue
    raise QueueShutDown(f"queue {request.queue!r} was shut down in this process")


async def _select(member: Member, request: Get, port: Port, most_bytes: int) -> None:
    assert request.where is not None
    where = filter_of(request.where)
    await member.house.put_back(request.queue, every=True)
    timeout_s = 0.0 if request.drain else request.timeout_s
    try:
        batch = await port.select(where, request.most, most_bytes, request.lease_ns, timeout_s)
    except TimeoutError:
        if request.drain:
            raise QueueShutDown(f"queue {request.queue!r} was shut down in this process") from None
        raise
    _deliver(member, request, port, batch)
    member.flush()


def _deliver_one(member: Member, request: Get, port: Port, taken: tuple[int, Entry, int]) -> None:
    token, entry, attempts = taken
    counts = None if attempts == 1 else [attempts]
    member.reply(Delivered(request.id, token, [entry], counts, _length_ns(request, port)))


def _deliver(member: Member, request: Get, port: Port, batch: tuple[int, BatchLease]) -> None:
    token, lease = batch
    length_ns = _length_ns(request, port)
    member.reply(Delivered(request.id, token, lease.entries, lease.attempts, length_ns))


def _length_ns(request: Get, port: Port) -> int:
    return request.lease_ns or int(port.policy().visibility_timeout_s * NANOSECONDS)
