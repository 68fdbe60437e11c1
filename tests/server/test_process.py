"""Servers and clients that are killed, that run out of descriptors or of disk."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.errors import LeaseExpired, StorageFull, UnknownOutcome
from posthouse.server import Limits
from posthouse.testing.cases.base import soon
from posthouse.testing.serving import serve
from tests.server.process import ServerProcess
from tests.server.raw import Raw

KILLS = int(os.environ.get("POSTHOUSE_SERVER_KILLS", "4"))


async def test_a_server_that_is_killed_under_load(tmp_path: Path) -> None:
    """The ledger outside: every put that was answered is delivered, none is stored twice.

    ``POSTHOUSE_SERVER_KILLS`` says how often (100 in a long run).
    """
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    answered: set[str] = set()
    unknown: set[str] = set()
    seen: dict[str, int] = {}
    acked: set[str] = set()
    again: set[str] = set()
    stop = asyncio.Event()
    with ServerProcess(tmp_path / "data") as server:
        options: dict[str, Any] = {"first_pause_s": 0.01, "most_pause_s": 0.1}
        async with (
            posthouse.open(server.url, **options) as putting,
            posthouse.open(server.url, **options) as taking,
        ):
            queue = putting.queue("q", retry=posthouse.Retry(max_attempts=10_000))

            async def produce(who: int) -> None:
                number = 0
                while not stop.is_set():
                    body = f"{who}:{number}"
                    number += 1
                    try:
                        await queue.put(body)
                    except UnknownOutcome:
                        unknown.add(body)
                        continue
                    answered.add(body)

            async def consume() -> None:
                source = taking.queue("q")
                while True:
                    try:
                        messages = await source.get_many(50, timeout=0.3)
                    except TimeoutError:
                        if stop.is_set():
                            return
                        continue
                    for message in messages:
                        seen[message.body] = seen.get(message.body, 0) + 1
                        if message.body in acked:
                            again.add(message.body)
                    try:
                        await source.ack_many(messages, durable=True)
                    except (LeaseExpired, UnknownOutcome):
                        continue
                    acked.update(message.body for message in messages)

            producers = [asyncio.create_task(produce(who)) for who in range(20)]
            consumer = asyncio.create_task(consume())
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                await asyncio.to_thread(server.end, kill=True)
                await asyncio.to_thread(server.start)
            await asyncio.sleep(0.2)
            stop.set()
            async with asyncio.timeout(60):
                await asyncio.gather(*producers)
                await consumer
            left = await queue.stats()
    assert not answered - seen.keys(), f"seed {seed}: lost"
    assert not again, f"seed {seed}: came back after a durable ack"
    assert (left.waiting, left.in_flight) == (0, 0), f"seed {seed}"
    assert len(answered) > 50


def _puts() -> list[Any]:
    """Five puts, in each way that there is."""
    from posthouse.wire import requests

    return [
        requests.PutEach(1, "q", 5, 2, [b"a", b"b"]),
        requests.PutMany(2, "q", 7, 2, [b"c", b"d"]),
        requests.Commit(3, 9, [requests.PutStep("q", 2, b"e", b"", None)]),
    ]


def _put_all(url: str, puts: list[Any]) -> tuple[Any, list[Any]]:
    """Say them as a new client: the welcome, and the answers in the order of the requests."""
    with Raw(url) as client:
        welcome = client.hello()
        client.say(*puts)
        return welcome, sorted([client.hear() for _ in puts], key=lambda each: each.of)


async def test_puts_are_recognised_by_the_next_server(tmp_path: Path) -> None:
    """The answer is lost with the server; the same put to the next one finds the first."""
    from posthouse.wire import requests
    from posthouse.wire.answers import Answer, Placed

    with serve(tmp_path / "data") as served:
        puts = _puts()
        welcome, first = _put_all(served.url, puts)
        served.restart()
        with Raw(served.url) as client:
            after = client.hello(session=welcome.session, producer=welcome.producer)
            assert not after.resumed
            assert after.producer == welcome.producer
            for each in puts:
                each.again = True
            client.say(*puts, requests.Ask(4, "stats", "q", []))
            placed: dict[int, list[Any]] = {}
            while len(placed) < 4:
                answer = client.hear()
                if isinstance(answer, Placed):
                    ids = range(answer.first, answer.first + answer.count)
                    placed.setdefault(answer.of, []).extend(ids)
                else:
                    assert isinstance(answer, Answer)
                    placed[answer.of] = [answer.value]
            assert placed[1] == [first[0].first, first[0].first + 1]
            assert placed[2] == [first[1].first]
            assert placed[3] == [first[2].value]
            assert placed[4][0]["waiting"] == 5


async def _reclaim(server: ServerProcess) -> None:
    """Settle what is there until the log has one segment only."""
    async with posthouse.open(server.url) as broker:
        q, other = broker.queue("q"), broker.queue("other")
        while (await q.stats()).waiting:
            await (await soon(q.get())).ack(durable=True)
        while len(_segments(server)) > 1:
            await other.put("a frame that lets segments go")
            await (await soon(other.get())).ack(durable=True)


def _segments(server: ServerProcess) -> list[str]:
    return sorted(path.name for path in Path(server.directory).glob("*.seg"))


async def test_a_put_is_known_when_its_segment_is_gone_and_the_server_killed_again(
    tmp_path: Path,
) -> None:
    """Answered to nobody, taken, settled, reclaimed; and then its client comes back."""
    from posthouse.wire import requests
    from posthouse.wire.answers import Answer, Placed

    with ServerProcess(tmp_path / "data") as server:
        puts = _puts()
        welcome, first = _put_all(server.url, puts)
        before = _segments(server)
        for _ in range(2):  # what was told again is told again as well
            await asyncio.to_thread(server.end, kill=True)
            await asyncio.to_thread(server.start)
            await _reclaim(server)
            assert not set(before) & set(_segments(server))
            before = _segments(server)
        await asyncio.to_thread(server.end, kill=True)
        await asyncio.to_thread(server.start)
        with Raw(server.url) as client:
            assert not client.hello(session=welcome.session, producer=welcome.producer).resumed
            for each in puts:
                each.again = True
            client.say(*puts, requests.Ask(4, "stats", "q", []))
            answers = [client.hear() for _ in range(5)]
        placed = {(each.of, each.part): each.first for each in answers if isinstance(each, Placed)}
        others = {each.of: each.value for each in answers if isinstance(each, Answer)}
        assert placed == {
            (1, 0): first[0].first,
            (1, 1): first[0].first + 1,
            (2, 0): first[1].first,
        }
        assert others[3] == first[2].value
        assert others[4]["waiting"] == 0, "nothing was stored again"


_HOLD = """
import asyncio, sys, posthouse
async def main():
    async with posthouse.open(sys.argv[1]) as broker:
        message = await broker.queue("q", visibility_timeout=1).get()
        print("held", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


async def test_a_client_killed_while_it_holds_a_lease(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as served:
        async with posthouse.open(served.url) as broker:
            queue = broker.queue("q", visibility_timeout=1)
            await queue.put("x")
            child = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", _HOLD, served.url], stdout=subprocess.PIPE
            )
            assert child.stdout is not None
            assert await asyncio.to_thread(child.stdout.readline) == b"held\n"
            child.kill()
            child.wait()
            child.stdout.close()
            message = await soon(queue.get())
            assert (message.body, message.attempts) == ("x", 2)
            await message.ack()


async def test_a_blocked_loop_keeps_its_leases(tmp_path: Path) -> None:
    with serve(tmp_path / "data") as served:
        async with (
            posthouse.open(served.url) as broker,
            posthouse.open(served.url, keep_leases_s=0) as careless,
        ):
            queue = broker.queue("q", visibility_timeout=1)
            other = careless.queue("other", visibility_timeout=1)
            await queue.put_many([1, 2, 3])
            await other.put(1)
            message, batch = await queue.get(), await queue.get_many(2)
            lost = await other.get()
            time.sleep(2.5)
            await message.ack()
            await queue.ack_many(batch)
            with pytest.raises(LeaseExpired):
                await lost.ack()
            stats = await queue.stats()
            assert (stats.acked, stats.expired_leases) == (3, 0)


async def test_sigterm_drains(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data") as server:
        async with posthouse.open(server.url, give_up_after_s=0.5) as broker:
            queue = broker.queue("q")
            answered = []

            async def produce(who: int) -> None:
                while True:
                    answered.append(await queue.put(who))

            producers = [asyncio.create_task(produce(who)) for who in range(30)]
            while len(answered) < 300:
                await asyncio.sleep(0.01)
            assert await asyncio.to_thread(server.end) == 0
            await asyncio.wait(producers)
        async with posthouse.open(str(tmp_path / "data")) as broker:
            found: set[str] = set()
            while (await broker.queue("q").stats()).waiting:
                found.update(message.id for message in await broker.queue("q").get_many(1000))
    assert set(answered) <= found
    assert len(found) - len(answered) <= 30, "nothing was stored twice"


async def test_out_of_descriptors(tmp_path: Path) -> None:
    """Accepting pauses; the log, and the clients that are there, are unharmed."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with ServerProcess(tmp_path / "data", before=few) as server:
        async with posthouse.open(server.url) as broker:
            queue = broker.queue("q")
            await queue.put(0)
            clients = [Raw(server.url) for _ in range(100)]
            for number in range(1, 50):
                await soon(queue.put(number))
            for client in clients:
                client.socket.close()
            async with posthouse.open(server.url, connect_timeout_s=20) as late:
                assert len(await soon(late.queue("q").get_many(100))) == 50
            assert server.process is not None
            server.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.process.wait, 20) == 0


async def test_a_full_disk_is_told_to_the_client(tmp_path: Path) -> None:
    from posthouse.testing.files import PassingFiles

    class Full(PassingFiles):
        full = False

        def passing(self, operation: Any) -> None:
            if self.full and operation.name in ("create", "truncate"):
                raise OSError(28, "No space left on device")

    files = Full()
    body = b"x" * 20_000
    with serve(tmp_path / "data", files=files, segment_bytes=65536) as served:
        async with posthouse.open(served.url) as broker:
            queue = broker.queue("q")
            files.full = True
            stored = 0
            with pytest.raises(StorageFull):
                for _ in range(200):
                    await soon(queue.put(body))
                    stored += 1
            taken = await soon(queue.get_many(1000))
            assert len(taken) == stored
            await queue.ack_many(taken)
            files.full = False
            for _ in range(200):
                try:
                    await soon(queue.put(body))
                    break
                except StorageFull:
                    await asyncio.sleep(0.05)
            assert (await soon(queue.stats())).waiting == 1


def test_limits_are_checked() -> None:
    for wrong in ({"connections": 0}, {"frame_bytes": 5}, {"heartbeat_s": -1}, {"drain_s": 0}):
        with pytest.raises(posthouse.BadArgument):
            Limits(**wrong)
