"""Parts of a link by themselves."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import pytest

import posthouse
from posthouse.core.producers import FIRST_PRODUCER, KEPT_NS, Producers
from posthouse.errors import (
    BadArgument,
    FilterError,
    LeaseExpired,
    MessageTooLarge,
    QueueFull,
    UnknownOutcome,
    Unsupported,
)
from posthouse.link.held import Holdings
from posthouse.server import Limits
from posthouse.testing import serve
from posthouse.testing.cases.base import soon
from posthouse.wire import failures
from posthouse.wire.answers import Delivered, Failed


def test_producers_are_remembered_and_forgotten() -> None:
    table = Producers(most_each=3, most_in_all=5)
    one, two = FIRST_PRODUCER, FIRST_PRODUCER + 1
    table.note(7, 1, 1, 100)  # the broker's own
    assert table.find(7, 1) is None
    table.note(one, 1, 3, 100)
    table.note(one, 9, 1, 200)
    assert [table.find(one, n) for n in (0, 1, 3, 4, 9)] == [None, 100, 102, None, 200]
    table.note(one, 4, 2, 300)  # out of order: it waited in line
    assert table.find(one, 5) == 301
    table.note(one, 10, 1, 400)
    assert table.find(one, 1) is None, "the oldest of each go"
    for sequence in range(3):
        table.note(two, sequence, 1, 500)
    assert len(table) == 3
    assert table.find(one, 10) is None, "who was silent longest goes"
    assert table.find(two, 2) == 500


def test_producers_are_carried_until_their_client_has_seen_the_answers() -> None:
    table = Producers()
    one, two = FIRST_PRODUCER, FIRST_PRODUCER + 1
    for first_id, sequence in ((100, 1), (200, 4), (300, 5)):
        table.note(one, sequence, 3 if sequence == 1 else 1, first_id)
    table.note(two, 1, 1, 250)
    assert table.carry(100, 300, 0) == [], "what is in a segment that stays"
    assert table.carry(260, 300, 0) == [(two, [(1, 1, 250)]), (one, [(1, 3, 100), (4, 1, 200)])]
    assert table.carry(280, 310, 0) == [], "it was told again behind 300"
    table.seen(one, 3)
    table.seen(two, 2)
    table.seen(7, 2)
    assert [table.find(one, 3), table.find(two, 1), len(table)] == [102, None, 3]
    assert table.carry(301, 310, 0) == [(one, [(1, 3, 100), (4, 1, 200), (5, 1, 300)])]
    table.seen(one, 5)
    for row in ((4, 1, 200), (5, 1, 300)):
        table.note(one, *row)  # a restart finds both records
    assert table.carry(320, 320, 0) == [(one, [(4, 1, 200), (5, 1, 300)])]
    assert table.carry(400, 400, KEPT_NS + 250) == [(one, [(5, 1, 300)])], "too old to come again"
    table.forget(one)
    assert len(table) == 0
    assert table.carry(500, 500, 0) == []


def test_no_more_producers_are_carried_than_a_turn_of_the_loop_allows() -> None:
    table = Producers(most_carried=3)
    one, two = FIRST_PRODUCER, FIRST_PRODUCER + 1
    for number in range(4):
        table.note(one, number, 1, 100 + number)
    for number in range(2):
        table.note(two, number, 1, 200 + number)
    expected = [(two, [(0, 1, 200), (1, 1, 201)]), (one, [(3, 1, 103)])]
    assert table.carry(300, 300, 0) == expected, "the newest of who put last"


@pytest.mark.parametrize(
    "error",
    [
        LeaseExpired("gone", [1, 2]),
        MessageTooLarge("the body", 5, 3),
        FilterError("no field", "bod.x", 2),
        QueueFull("full"),
        TimeoutError("late"),
        UnknownOutcome("who knows"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_come_over_as_they_were(error: Exception) -> None:
    back = failures.raised(failures.failed(1, 0, error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    for name in ("numbers", "size_bytes", "limit_bytes", "at"):
        assert getattr(back, name, None) == getattr(error, name, None)


def test_errors_that_are_not_known() -> None:
    assert failures.failed(1, 0, RuntimeError("x")).code == "BrokerBug"
    assert isinstance(failures.raised(Failed(1, 0, "Newer", "x")), UnknownOutcome)


def test_what_is_held() -> None:
    told: list[int] = []
    held = Holdings(lambda: told.append(1))
    held.add(5, "q", 10**12, 3)
    held.add(6, "q", 1, 1)
    assert told == [1]
    assert held.holds(5, 1)
    held.settle(5, [1])
    assert not held.holds(5, 1)
    assert held.holds(5, 2)
    held.settle(5, [2, 3])
    assert not held.holds(5, 2)
    while held.holds(6, 1):
        time.sleep(0)
    assert held.snapshot() == []
    assert held.known() == [("q", 6, 0)]  # it came, and has run out
    held.extended(6, 10**12)
    assert held.snapshot() == [("q", 6, 10**12)]


def test_a_snapshot_is_of_one_moment() -> None:
    """Whatever runs meanwhile: in a collection of garbage that it causes, or in another thread."""
    held = Holdings(lambda: None)
    for token in range(1, 2000):
        held.add(token, "q", 10**12, 1)
    collections = 0

    def meanwhile(phase: str, _: dict[str, int]) -> None:
        nonlocal collections
        collections += 1
        held.add(10_000 + collections, "q", 10**12, 1)

    before = gc.get_threshold()
    gc.callbacks.append(meanwhile)
    gc.set_threshold(1)
    try:
        tokens = [token for _, token, _ in held.snapshot()]
        known = held.known()
    finally:
        gc.set_threshold(*before)
        gc.callbacks.remove(meanwhile)
    assert collections
    assert tokens[:1999] == list(range(1, 2000))
    assert len(known) >= len(tokens)


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("tcp:", {}),
        ("tcp://", {}),
        ("tcp://h:x", {}),
        ("tcp://h:99999", {}),
        ("tcp://h/p", {}),
        ("unix:", {}),
        ("tcp://h", {"speed": 1}),
        ("tcp://h", {"heartbeat_s": 0}),
        ("tcp://h", {"connect_timeout_s": "1"}),
        ("tcp://h", {"name": 5}),
    ],
)
def test_what_cannot_be_opened(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(BadArgument):
        posthouse.open(url, **options)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_what_a_block_raises_matters_more_than_its_lease(error: type[BaseException]) -> None:
    """The server's clock counts, and the client's is behind: so it learns of it by the answer."""
    with serve() as served:
        async with posthouse.open(served.url) as broker:
            queue = broker.queue("q", visibility_timeout=0.05)
            await queue.put(1)
            with pytest.raises(error, match="the handler's own"):
                async with await soon(queue.get()) as message:
                    held = await soon(queue.get(visibility_timeout=3600))
                    queue.port._link.holdings.extended(message.token, 10**12)
                    assert queue.port.holds(message.token, message.entry[0])
                    raise error("the handler's own")
            assert message.settled is None
            await held.ack()


async def test_what_a_server_has_is_checked_when_it_is_reached() -> None:
    with serve() as memory, serve(durable=True) as log:
        async with posthouse.open(memory.url) as broker:
            assert "durable" not in broker.capabilities
            assert "processes" in broker.capabilities
        async with posthouse.open(log.url, require={"durable", "processes"}):
            pass
        with pytest.raises(Unsupported, match="durable"):
            await posthouse.open(memory.url, require={"durable"})
        with pytest.raises(Unsupported, match="nowait"):
            posthouse.open(memory.url, require={"nowait"})


async def test_what_cannot_be_said_hurts_nobody_else() -> None:
    with serve() as served:
        async with posthouse.open(served.url) as broker:
            queue = broker.queue("q")
            await queue.put(1)
            message = await queue.get()
            results = await soon(
                asyncio.gather(
                    queue.put(2),
                    queue.port.extend(1 << 70, 5),
                    queue.put(3),
                    return_exceptions=True,
                )
            )
            assert isinstance(results[1], BadArgument)
            assert isinstance(results[0], str)
            assert isinstance(results[2], str)
            await message.ack()


async def test_a_call_that_waits_long_does_not_keep_answers_of_others() -> None:
    with serve(limits=Limits(requests=40)) as served:
        async with posthouse.open(served.url) as broker:
            waiting = asyncio.create_task(broker.queue("empty").get())
            queue = broker.queue("q")
            for number in range(200):
                await soon(queue.put(number))
                await (await soon(queue.get())).ack()
            members = served.server.members
            kept = served.call(lambda: [len(member.kept) for member in members()])
            assert kept[0] < 40
            await broker.queue("empty").put("x")
            assert (await soon(waiting)).body == "x"


async def test_large_answers_are_not_kept() -> None:
    with serve() as served:
        async with posthouse.open(served.url) as broker:
            queue = broker.queue("q")
            for _ in range(10):
                await soon(queue.put(b"x" * 2_000_000))
                await (await soon(queue.get())).ack()
            await soon(queue.stats())

            def kept_bytes() -> int:
                return sum(
                    len(entry[2])
                    for member in served.server.members()
                    for replies in member.kept.values()
                    for reply in replies
                    if isinstance(reply, Delivered)
                    for entry in reply.entries
                )

            assert served.call(kept_bytes) <= 4_000_000
