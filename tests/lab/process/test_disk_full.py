"""A disk that is really full: a small tmpfs."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Final

import pytest

import posthouse
from posthouse import Queue, StorageFull
from posthouse.testing import serve
from tests.conftest import SMALL_DISK_KIB
from tests.lab.process.ledger import Ledger

BODY_BYTES: Final = 900
SMALL: Final[dict[str, Any]] = {"segment_bytes": 64 * 1024, "ring_slots": 64}


class Filler:
    """Puts messages until there is no room, writing a ledger.

    Attributes:
        stored: how many were.
    """

    def __init__(self, queue: Queue[str], ledger: Ledger) -> None:
        self._queue = queue
        self._ledger = ledger
        self._calls = 0
        self.stored = 0

    async def put(self) -> None:
        """One message, with a key of its own."""
        self._calls += 1
        key = f"{self._calls}"
        self._ledger.take("put", self._calls, "a", [key])
        try:
            put_id = await self._queue.put(key.ljust(BODY_BYTES, "."))
        except StorageFull as error:
            self._ledger.take("failed", self._calls, str(error))
            raise
        self._ledger.take("done", self._calls, [put_id])
        self.stored += 1

    async def fill(self) -> None:
        """Until it raises StorageFull."""
        with pytest.raises(StorageFull):
            while True:
                await self.put()

    async def take(self, most: int) -> int:
        """Take and ack so many at most; how many there were."""
        taken = 0
        while taken < most and self._queue.qsize():
            message = await self._queue.get()
            key = message.body.rstrip(".")
            fields = ("a", message.id)
            self._ledger.take("got", *fields, key, message.token, message.attempts)
            self._calls += 1
            self._ledger.take("settle", self._calls, "ack", *fields, message.token, True, None)
            await message.ack(durable=True)
            self._ledger.take("done", self._calls, None)
            taken += 1
        return taken


def check(ledger: Ledger, left: list[list[object]]) -> None:
    """All queues were looked at."""
    for queue in ("a.dead", "b", "c"):
        ledger.take("left", queue, [])
    ledger.take("left", "a", left)
    assert ledger.problems() == [], ledger.history.to_text()


async def test_a_full_disk_refuses_puts_and_is_drained(small_disk: Path) -> None:
    ledger = Ledger()
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        filler = Filler(broker.queue("a", str), ledger)
        await filler.fill()
        assert filler.stored > 100
        # Nothing has stopped: what is there can be taken and acked to the last one.
        assert await filler.take(1_000_000) == filler.stored
        # And the room is there again, several times over.
        for _ in range(3):
            before = filler.stored
            async with asyncio.timeout(20):
                await filler.fill()
            assert filler.stored - before > 100
            await filler.take(1_000_000)
        await filler.put()
    ledger.life_over(killed=False)
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        message = await broker.queue("a", str).get()
        check(ledger, [[message.id, message.body.rstrip("."), message.attempts - 1]])
        await message.ack()


async def test_work_resumes_when_somebody_else_makes_room(small_disk: Path) -> None:
    ledger = Ledger()
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300 * 1024))
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        filler = Filler(broker.queue("a", str), ledger)
        await filler.fill()
        stored = filler.stored
        ballast.unlink()
        await filler.put()
        await filler.fill()
        assert filler.stored > stored + 100
    ledger.life_over(killed=False)
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        messages = await broker.queue("a", str).get_many(10_000)
        left = [[m.id, m.body.rstrip("."), m.attempts - 1] for m in messages]
        assert len(left) == filler.stored
        check(ledger, left)


async def test_a_full_disk_survives_a_restart(small_disk: Path) -> None:
    ledger = Ledger()
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        filler = Filler(broker.queue("a", str), ledger)
        await filler.fill()
    ledger.life_over(killed=False)
    # Not a byte is left for anybody.
    with pytest.raises(OSError, match="No space"):
        (small_disk / "ballast").write_bytes(bytes(SMALL_DISK_KIB * 1024))
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        again = Filler(broker.queue("a", str), ledger)
        assert await again.take(1_000_000) == filler.stored
    ledger.life_over(killed=False)
    check(ledger, [])


async def test_a_disk_too_small_for_a_log_says_so(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(SMALL_DISK_KIB * 1024 - os.sysconf("SC_PAGE_SIZE")))
    with pytest.raises(StorageFull):
        await posthouse.open(str(small_disk / "log"), **SMALL)
    (small_disk / "ballast").unlink()
    async with posthouse.open(str(small_disk / "log"), **SMALL) as broker:
        await broker.queue("a", str).put("fits")


async def test_a_client_sees_that_the_servers_disk_is_full(small_disk: Path) -> None:
    """The server lives on, what is there is had and acked, and then there is room again."""
    with serve(small_disk / "log", **SMALL) as served:
        async with posthouse.open(served.url) as broker:
            ledger = Ledger()
            filler = Filler(broker.queue("a", str), ledger)
            await filler.fill()
            assert filler.stored > 100
            with pytest.raises(StorageFull, match="No space left"):
                await broker.queue("a", str).put_many(["x" * BODY_BYTES] * 10)
            async with posthouse.open(served.url) as other:
                assert (await other.queue("a").stats()).waiting == filler.stored
                messages = await other.queue("a").get_many(filler.stored)
                assert len({message.body for message in messages}) == filler.stored
                await other.queue("a").ack_many(messages, durable=True)
            async with asyncio.timeout(20):
                while True:  # the files go in the background
                    try:
                        await filler.put()
                        break
                    except StorageFull:
                        await asyncio.sleep(0.01)
            assert (await broker.queue("a").stats()).waiting == 1
