"""Limits and bad values: refused with a clear error, before anything is stored."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, InvalidName, MessageTooLarge
from posthouse.model import MAX_BODY_BYTES, MAX_HEADERS_BYTES, Retry
from posthouse.testing.cases.base import Cases, is_now, take, waits

BAD_SECONDS = [-1, -0.001, float("nan"), float("inf"), float("-inf"), 2**63, 10**400, "1", True]


class LimitCases(Cases):
    """What is over a limit changes nothing."""

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "-x",
            ".hidden",
            "a/b",
            "a\\b",
            "a b",
            "a\n",
            "\n",
            "a\0",
            "é",
            "a\u202eb",
            "\ud800",
            "x" * 201,
            "x" * 65_535,
            None,
            b"bytes",
            7,
        ],
        ids=lambda name: ascii(name)[:20],
    )
    async def test_names_that_are_refused(self, broker: Broker, name: Any) -> None:
        with pytest.raises(InvalidName) as caught:
            broker.queue(name)
        assert len(str(caught.value)) < 1000
        with pytest.raises(InvalidName):
            broker.queue("q", dead_letter=name or "/")
        assert await broker.queue_names() == []

    @pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 200, "0", "_", "con", "a..b"])
    async def test_names_that_are_allowed(self, broker: Broker, name: str) -> None:
        queue = broker.queue(name)
        await queue.put(1)
        assert (await take(queue)).queue_name == name
        assert await broker.queue_names() == [name]

    async def test_bodies(self, broker: Broker) -> None:
        queue = broker.queue("q")
        over = b"x" * (MAX_BODY_BYTES + 1)
        for body in (over, over.decode(), [over.decode()]):
            with pytest.raises(MessageTooLarge) as caught:
                await queue.put(body)
            assert caught.value.limit_bytes == MAX_BODY_BYTES
            assert caught.value.size_bytes > MAX_BODY_BYTES
        if is_now(broker):
            with pytest.raises(MessageTooLarge):
                queue.put_nowait(over)
        with pytest.raises(MessageTooLarge):
            await queue.put(over, headers={"a": "b"})
        with pytest.raises(MessageTooLarge):
            await queue.put_many([b"small", over])
        assert await waits(queue) == 0
        await queue.put(over[1:], headers={"a": "x" * (MAX_HEADERS_BYTES - 10)})
        assert len((await take(queue)).raw) == MAX_BODY_BYTES

    async def test_batches(self, broker: Broker) -> None:
        queue = broker.queue("q")
        with pytest.raises(MessageTooLarge):
            await queue.put_many([b"x" * MAX_BODY_BYTES] * 5)
        with pytest.raises(BadArgument):
            await queue.put_many([b""] * 100_001)
        assert await waits(queue) == 0

    async def test_headers(self, broker: Broker) -> None:
        queue = broker.queue("q")
        for over in ({"a": "x" * MAX_HEADERS_BYTES}, {f"{n:04}": "x" * 20 for n in range(4000)}):
            with pytest.raises(MessageTooLarge) as caught:
                await queue.put(1, headers=over)
            assert caught.value.limit_bytes == MAX_HEADERS_BYTES
        for bad in ({"a": 1}, {1: "a"}, {"a": None}, {"a": b"b"}, {"a": "\ud800"}, ["a"], "a"):
            with pytest.raises(BadArgument):
                await queue.put(1, headers=bad)  # type: ignore[arg-type]
            with pytest.raises(BadArgument):
                await queue.put_many([1], headers=bad)  # type: ignore[arg-type]
            with pytest.raises(BadArgument):
                queue.put_nowait(1, headers=bad)  # type: ignore[arg-type]
        assert await waits(queue) == 0

    @pytest.mark.parametrize("seconds", BAD_SECONDS, ids=lambda s: str(s)[:8])
    async def test_delays(self, broker: Broker, seconds: Any) -> None:
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            await queue.put(1, delay=seconds)
        with pytest.raises(BadArgument):
            await queue.put_many([1], delay=seconds)
        with pytest.raises(BadArgument):
            queue.put_nowait(1, delay=seconds)
        assert await waits(queue) == 0
        await queue.put(1)
        message = await take(queue)
        with pytest.raises(BadArgument):
            await message.nack(delay=seconds)
        with pytest.raises(BadArgument):
            await message.extend(seconds)
        await message.ack()

    @pytest.mark.parametrize("seconds", [0, *BAD_SECONDS], ids=lambda s: str(s)[:8])
    async def test_leases(self, broker: Broker, seconds: Any) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        with pytest.raises(BadArgument):
            await queue.get(visibility_timeout=seconds)
        with pytest.raises(BadArgument):
            await queue.get_many(1, visibility_timeout=seconds)
        with pytest.raises(BadArgument):
            queue.get_nowait(visibility_timeout=seconds)
        with pytest.raises(BadArgument):
            broker.queue("other", visibility_timeout=seconds)
        assert await waits(queue) == 1
        assert await broker.queue_names() == ["q"]

    @pytest.mark.parametrize("seconds", [-1, float("nan"), "1", True])
    async def test_timeouts(self, broker: Broker, seconds: Any) -> None:
        queue = broker.queue("q", max_messages=1)
        with pytest.raises(BadArgument):
            await queue.get(timeout=seconds)
        with pytest.raises(BadArgument):
            await queue.get_many(timeout=seconds)
        await queue.put(1)
        with pytest.raises(BadArgument):
            await queue.put(2, timeout=seconds)
        with pytest.raises(BadArgument):
            await queue.put_many([2], timeout=seconds)
        with pytest.raises(BadArgument):
            broker.transaction(timeout=seconds)
        assert await waits(queue) == 1

    @pytest.mark.parametrize(
        "setting",
        [
            {"max_messages": 0},
            {"max_messages": -1},
            {"max_messages": 1.5},
            {"max_messages": True},
            {"max_messages": 1 << 62},
            {"max_messages": "1"},
            {"max_bytes": 0},
            {"max_bytes": "1"},
            {"overflow": "drop"},
            {"overflow": None},
            {"retry": 5},
            {"retry": None},
            {"dead_letter": 5},
            {"dead_letter": 0},
            {"dead_letter": False},
            {"visibility_timeout": None},
        ],
        ids=str,
    )
    async def test_settings(self, broker: Broker, setting: dict[str, Any]) -> None:
        with pytest.raises(BadArgument):
            broker.queue("q", **setting)
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            broker.queue("q", **setting)
        await queue.put(1)

    @pytest.mark.parametrize(
        "setting",
        [
            {"max_attempts": 0},
            {"max_attempts": 10_001},
            {"max_attempts": 1.0},
            {"max_attempts": True},
            {"backoff": "linear"},
            {"backoff": ()},
            {"backoff": (1, -1)},
            {"backoff": (1, "x")},
            {"backoff": [1.0]},
            {"backoff": 5},
            {"backoff": None},
            {"first_s": -1},
            {"first_s": float("nan")},
            {"most_s": float("inf")},
            {"most_s": None},
            {"jitter": "no"},
            {"jitter": None},
        ],
        ids=str,
    )
    async def test_retries(self, setting: dict[str, Any]) -> None:
        with pytest.raises(BadArgument):
            Retry(**setting)
