"""Bodies: what goes in comes out, and what does not decode says so."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, BodyError
from posthouse.testing.cases.base import Cases, drain, need, soon, take, turns, waits


class Order(msgspec.Struct):
    """A typed body."""

    sku: str
    quantity: int = 1


class BodyCases(Cases):
    """str is text, bytes are bytes, everything else is JSON."""

    @pytest.mark.parametrize(
        "body",
        [
            None,
            True,
            0,
            -(2**62),
            1.5,
            "",
            "text: é 茶 \u202e\0",
            b"",
            bytes(range(256)),
            [],
            {},
            [1, [2, [3]], {"a": {"b": None}}],
            {"é": "茶", "": 1},
            "x" * 100_000,
            b"x" * 1_000_000,
        ],
        ids=lambda body: f"{type(body).__name__}-{str(body)[:12].encode().hex()}",
    )
    async def test_round_trip(self, broker: Broker, body: Any) -> None:
        queue = broker.queue("q")
        await queue.put(body)
        await queue.put_many([body, body])
        found = await drain(queue)
        assert found == [body] * 3
        assert [type(each) for each in found] == [type(body)] * 3

    async def test_kinds_may_be_mixed(self, broker: Broker) -> None:
        queue = broker.queue("q")
        bodies = [{"a": 1}, "text", b"raw", 7]
        await queue.put_many(bodies)
        assert await drain(queue) == bodies

    @pytest.mark.parametrize("body", [bytearray(b"abc"), memoryview(b"abc")])
    async def test_bytes_like(self, broker: Broker, body: Any) -> None:
        queue = broker.queue("q")
        await queue.put(body)
        assert await drain(queue) == [b"abc"]

    async def test_a_buffer_that_changes_later(self, broker: Broker) -> None:
        need(broker, "nowait")
        queue = broker.queue("q")
        buffer = bytearray(b"before")
        receipt = queue.put_nowait(buffer)
        buffer[:] = b"after!"
        await receipt
        assert await drain(queue) == [b"before"]

    async def test_a_buffer_that_changes_while_it_is_put(self, broker: Broker) -> None:
        queue = broker.queue("q")
        buffer = bytearray(b"before")
        putting = asyncio.create_task(queue.put(buffer))
        await turns(1)
        buffer[:] = b"after!"
        await soon(putting)
        assert await drain(queue) == [b"before"]

    async def test_what_becomes_json(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put((1, 2))
        await queue.put(datetime(2026, 1, 2, tzinfo=UTC))
        await queue.put(Order("tea", 2))
        assert await drain(queue) == [[1, 2], "2026-01-02T00:00:00Z", {"sku": "tea", "quantity": 2}]

    @pytest.mark.parametrize(
        "body", [object(), {(1, 2): 3}, [object()], "\ud800", {"a": "\ud800"}, lambda: None]
    )
    async def test_what_cannot_be_written(self, broker: Broker, body: Any) -> None:
        queue = broker.queue("q")
        with pytest.raises(BodyError):
            await queue.put(body)
        with pytest.raises(BodyError):
            await queue.put_many([1, body])
        with pytest.raises(BodyError):
            queue.put_nowait(body)
        assert await waits(queue) == 0

    async def test_too_deep(self, broker: Broker) -> None:
        queue = broker.queue("q")
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        try:
            with pytest.raises(BodyError):
                await queue.put(deep)
        finally:
            while deep:  # taken apart step by step: so deep a list breaks assertion messages
                deep = deep[0]

    async def test_typed(self, broker: Broker) -> None:
        queue = broker.queue("q", Order)
        await queue.put(Order("tea", 2))
        await broker.queue("q").put({"sku": "rice"})
        assert (await take(queue)).body == Order("tea", 2)
        message = await take(queue)
        assert message.body == Order("rice", 1)
        assert message.body is message.body

    @pytest.mark.parametrize("body", [{"sku": 1}, [1], None, {}, "text", b"bytes"])
    async def test_a_body_of_another_type(self, broker: Broker, body: Any) -> None:
        await broker.queue("q").put(body)
        queue = broker.queue("q", Order, dead_letter="dead")
        message = await take(queue)
        with pytest.raises(BodyError):
            _ = message.body
        assert isinstance(message.raw, bytes)
        with pytest.raises(BodyError):
            async with message:
                _ = message.body
        dead = await take(broker.queue("dead"))
        assert dead.headers["posthouse-reason"] == "undecodable"
        assert dead.raw == message.raw
        await soon(queue.join())

    async def test_a_body_error_of_the_handlers_own_is_retried(self, broker: Broker) -> None:
        queue = broker.queue("q", Order)
        await queue.put(Order("tea"))
        with pytest.raises(BodyError):
            async with await take(queue) as message:
                assert message.body.sku == "tea"
                await broker.queue("other").put(object())
        assert message.settled == "nack"

    async def test_typed_as_text_and_bytes(self, broker: Broker) -> None:
        await broker.queue("t").put("text")
        assert (await take(broker.queue("t", str))).body == "text"
        await broker.queue("b").put(b"raw")
        assert (await take(broker.queue("b", bytes))).body == b"raw"
        await broker.queue("t").put_many([b"raw", {"a": 1}])
        for _ in range(2):
            with pytest.raises(BodyError):
                _ = (await take(broker.queue("t", str))).body

    @pytest.mark.parametrize(
        "body_type", [dict[Order, Order] | list[int] | set[int], 5, "Order", lambda: None, ...]
    )
    async def test_a_type_that_cannot_be(self, broker: Broker, body_type: Any) -> None:
        with pytest.raises(BadArgument, match="cannot be of type"):
            broker.queue("q", body_type)
