"""Leases that another process ended: whatever their holder thinks, they settle nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.errors import LeaseExpired
from posthouse.testing.clock import ManualClock
from tests.backends.sqlite.places import opened

Verb = Callable[[posthouse.Broker, posthouse.Message[Any]], Awaitable[Any]]


async def _transaction(broker: posthouse.Broker, message: posthouse.Message[Any]) -> None:
    async with broker.transaction() as tx:
        tx.ack(message)
        tx.put(broker.queue("other"), 1)


VERBS: dict[str, Verb] = {
    "ack": lambda _, message: message.ack(),
    "ack_many": lambda broker, message: broker.queue("q").ack_many([message]),
    "nack": lambda _, message: message.nack(delay=0),
    "reject": lambda _, message: message.reject(),
    "give_back": lambda _, message: message.give_back(),
    "extend": lambda _, message: message.extend(60),
    "transaction": _transaction,
}


@pytest.fixture
def clock() -> ManualClock:
    """The second one's. The first one's stands still: it learns from the database what time it is,
    and so never ends a lease before the second one does."""
    return ManualClock()


@pytest.fixture
async def brokers(
    tmp_path: Path, clock: ManualClock
) -> AsyncIterator[tuple[posthouse.Broker, posthouse.Broker]]:
    """Two that share a database."""
    path = tmp_path / "q.db"
    async with opened(path, clock=ManualClock()) as one, opened(path, clock=clock) as two:
        yield one, two


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("verb", VERBS)
async def test_a_lease_that_another_ended_settles_nothing(
    brokers: tuple[posthouse.Broker, posthouse.Broker],
    clock: ManualClock,
    verb: str,
    count: int,
) -> None:
    one, two = brokers
    await one.queue("q").put_many(range(count))
    stale = await one.queue("q").get_many(count)
    clock.advance(31)
    held = await two.queue("q").get_many(count, timeout=0, visibility_timeout=3600)
    assert [message.attempts for message in held] == [2] * count
    with pytest.raises(LeaseExpired):
        await VERBS[verb](one, stale[0])
    stats = await two.queue("q").stats()
    assert (stats.in_flight, stats.waiting, stats.acked) == (count, 0, 0)
    assert (await two.queue("other").stats()).put == 0
    await two.queue("q").ack_many(held)
    assert (await one.queue("q").stats()).acked == count


async def test_an_iterator_drops_what_another_has_by_now(
    brokers: tuple[posthouse.Broker, posthouse.Broker], clock: ManualClock
) -> None:
    one, two = brokers
    await one.queue("q").put_many(range(4))
    iterator = aiter(one.queue("q"))
    first = await anext(iterator)
    clock.advance(31)
    held = await two.queue("q").get_many(2, timeout=0, visibility_timeout=3600)
    # The first was begun; the others were only set aside.
    assert [(m.body, m.attempts) for m in held] == [(0, 2), (1, 1)]
    with pytest.raises(LeaseExpired):
        await first.ack()
    rest = [await anext(iterator) for _ in range(2)]
    assert [(m.body, m.attempts) for m in rest] == [(2, 1), (3, 1)]
    for message in (*rest, *held):
        await message.ack()
    assert (await one.queue("q").stats()).acked == 4
