"""Bodies of a type, in another format, or compressed; and what becomes of those that do not fit."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any, TypedDict

import msgspec
import pytest

from posthouse import bodies
from posthouse.broker import Broker
from posthouse.errors import BadArgument, BodyError, MessageTooLarge
from posthouse.message import Message
from posthouse.model import MAX_BODY_BYTES
from posthouse.queue import Queue
from posthouse.testing.cases.base import Cases, drain, is_now, need, soon, take, waits


class Order(msgspec.Struct):
    """A Struct."""

    sku: str
    quantity: int = 1


class NextOrder(msgspec.Struct):
    """The same in the program's next version, which needs a customer."""

    sku: str
    customer: str
    quantity: int = 1


@dataclasses.dataclass
class Parcel:
    """A dataclass that holds another type."""

    order: Order
    sent_at: datetime


class Line(TypedDict):
    """A TypedDict."""

    sku: str
    prices: list[float]


PARCEL = Parcel(Order("tea", 2), datetime(2026, 1, 2, tzinfo=UTC))
LONG = {"sku": "tea", "notes": ["a line that repeats itself"] * 200}


def reversed_json(value: Any) -> bytes:
    """A codec of the program's own."""
    return json.dumps(value).encode()[::-1]


class TypedBodyCases(Cases):
    """What a queue's type, ``codec`` and ``compress`` do."""

    @pytest.mark.parametrize("codec", [None, "json", "msgpack"])
    @pytest.mark.parametrize(
        ("body_type", "body", "plain"),
        [
            (Order, Order("tea", 2), {"sku": "tea", "quantity": 2}),
            (Parcel, PARCEL, None),
            (Line, {"sku": "tea", "prices": [1.5, 2.0]}, {"sku": "tea", "prices": [1.5, 2.0]}),
            (list[Order], [Order("a"), Order("b", 2)], None),
            (dict[str, int], {"a": 1}, {"a": 1}),
        ],
        ids=["struct", "dataclass", "typeddict", "list", "dict"],
    )
    async def test_each_type(
        self, broker: Broker, codec: str | None, body_type: Any, body: Any, plain: Any
    ) -> None:
        queue = broker.queue("q", body_type, codec=codec)
        await queue.put(body)
        await queue.put_many([body, body])
        assert (await take(queue)).body == body
        if plain is not None:
            assert (await take(broker.queue("q"))).body == plain
        # How it was written travels with it: a handle without a codec reads it as well.
        assert (await take(broker.queue("q", body_type))).body == body

    @pytest.mark.parametrize("codec", [None, "msgpack"])
    async def test_a_pydantic_model(self, broker: Broker, codec: str | None) -> None:
        pydantic = pytest.importorskip("pydantic")
        model: Any = pydantic.create_model(
            "Model", sku=(str, ...), sent_at=(datetime, ...), quantity=(int, pydantic.Field(gt=0))
        )
        body = model(sku="tea", sent_at=PARCEL.sent_at, quantity=2)
        queue: Queue[Any] = broker.queue("q", model, codec=codec)
        await queue.put(body)
        await queue.put({"sku": "tea", "sent_at": PARCEL.sent_at, "quantity": -1})
        assert (await take(queue)).body == body
        with pytest.raises(BodyError, match="quantity: Input should be greater than 0"):
            _ = (await take(queue)).body

    @pytest.mark.parametrize(
        ("codec", "body"),
        [
            ("json", "text"),
            ("json", {"a": None}),
            ("msgpack", "text"),
            ("msgpack", b"raw"),
            ("msgpack", {"a": b"raw", "b": [float("inf")]}),
            ("text", "text"),
            ("bytes", b"raw"),
        ],
    )
    async def test_each_codec(self, broker: Broker, codec: str, body: Any) -> None:
        queue = broker.queue("q", codec=codec)
        await queue.put(body)
        await queue.put_many([body])
        if is_now(broker):
            await queue.put_nowait(body)
        else:
            await queue.put(body)
        assert await drain(broker.queue("q")) == [body] * 3

    @pytest.mark.parametrize(
        ("codec", "body"),
        [("text", b"raw"), ("text", 1), ("bytes", "text"), ("bytes", 1), ("msgpack", object())],
    )
    async def test_what_a_codec_does_not_take(self, broker: Broker, codec: str, body: Any) -> None:
        queue = broker.queue("q", codec=codec)
        with pytest.raises(BodyError):
            await queue.put(body)
        with pytest.raises(BodyError):
            await queue.put_many([body])
        assert await waits(queue) == 0

    @pytest.mark.parametrize("body", [float("nan"), [{"a": float("-inf")}], {"a": [None, 1e999]}])
    async def test_what_is_no_json_is_not_put(self, broker: Broker, body: Any) -> None:
        queue = broker.queue("q")
        with pytest.raises(BodyError, match="NaN"):
            await queue.put(body)
        with pytest.raises(BodyError, match="NaN"):
            await queue.put_many([1, body])
        assert await waits(queue) == 0

    async def test_a_registered_codec(self, broker: Broker) -> None:
        bodies.register(
            "application/x-reversed", reversed_json, lambda data: json.loads(data[::-1])
        )
        queue = broker.queue("q", Order, codec="application/x-reversed")
        await queue.put(msgspec.to_builtins(Order("tea")), headers={"mine": "1"})
        message = await take(queue)
        assert message.body == Order("tea")
        assert message.raw == reversed_json({"sku": "tea", "quantity": 1})
        assert message.headers == {"mine": "1", "content-type": "application/x-reversed"}

    async def test_a_content_type_that_nobody_registered(self, broker: Broker) -> None:
        bodies.register("application/x-gone", reversed_json, lambda data: data)
        queue = broker.queue("q", codec="application/x-gone")
        await queue.put([1])
        message = await take(queue)
        message.entry = (*message.entry[:3], bodies.encode_headers({"content-type": "a/b"}), None)
        with pytest.raises(BodyError, match="'a/b'"):
            _ = message.body

    @pytest.mark.parametrize("codec", [None, "msgpack"])
    async def test_compressed(self, broker: Broker, codec: str | None) -> None:
        pytest.importorskip("zstandard")
        queue = broker.queue("q", codec=codec, compress="zstd")
        await queue.put(LONG, headers={"mine": "1"})
        await queue.put_many([LONG, {"sku": "tea"}])
        await (queue.put_nowait(LONG) if is_now(broker) else queue.put(LONG))
        await queue.put({"short": 1})
        message = await take(queue)
        assert message.headers == {"mine": "1", "content-encoding": "zstd"}
        assert len(message.raw) < 300
        assert message.body == LONG
        assert await drain(broker.queue("q")) == [LONG, {"sku": "tea"}, LONG, {"short": 1}]

    @pytest.mark.parametrize("body", [b"raw" * 1000, "text" * 1000], ids=["bytes", "text"])
    async def test_compressed_bytes_and_text(self, broker: Broker, body: Any) -> None:
        pytest.importorskip("zstandard")
        queue = broker.queue("q", compress="zstd")
        await queue.put(body)
        await queue.put_many([body] * 2)
        for _ in range(3):
            message = await take(queue)
            assert len(message.raw) < 100
            assert message.body == body

    async def test_compressed_is_bounded_as_what_is_not(self, broker: Broker) -> None:
        pytest.importorskip("zstandard")
        queue = broker.queue("q", compress="zstd")
        with pytest.raises(MessageTooLarge):
            await queue.put(bytes(MAX_BODY_BYTES + 1))
        await queue.put(bytes(MAX_BODY_BYTES))
        assert (await take(queue)).body == bytes(MAX_BODY_BYTES)

    @pytest.mark.parametrize("name", ["content-encoding", "Content-Encoding"])
    async def test_headers_that_contradict(self, broker: Broker, name: str) -> None:
        pytest.importorskip("zstandard")
        queue = broker.queue("q", compress="zstd")
        with pytest.raises(BadArgument, match="zstd"):
            await queue.put(LONG, headers={name: "gzip"})
        assert await waits(queue) == 0

    async def test_headers_about_content_are_the_programs_own_otherwise(
        self, broker: Broker
    ) -> None:
        queue = broker.queue("q")
        headers = {"content-type": "image/png", "content-encoding": "gzip"}
        await queue.put(b"...", headers=headers)
        message = await take(queue)
        assert (message.body, message.headers) == (b"...", headers)

    async def test_in_a_transaction_and_by_a_topic(self, broker: Broker) -> None:
        pytest.importorskip("zstandard")
        need(broker, "transactions", "topics")
        queue = broker.queue("q", codec="msgpack", compress="zstd")
        topic = broker.topic("t", codec="msgpack", compress="zstd")
        await queue.bind(topic)
        async with broker.transaction() as tx:
            tx.put(queue, LONG)
            tx.publish(topic, LONG)
        await topic.publish(LONG)
        for _ in range(3):
            message = await take(queue)
            assert message.headers == {"content-encoding": "zstd"}
            assert message.body == LONG

    async def test_after_reopening(self, broker: Broker) -> None:
        need(broker, "durable")
        pytest.importorskip("zstandard")
        bodies.register(
            "application/x-reversed", reversed_json, lambda data: json.loads(data[::-1])
        )
        for settings in ({"compress": "zstd"}, {"codec": "application/x-reversed"}):
            await broker.queue("q", **settings).put(LONG)  # type: ignore[call-overload]
        again = await self.reopen(broker)
        try:
            assert await drain(again.queue("q")) == [LONG, LONG]
        finally:
            await again.close()

    async def test_what_does_not_decode_is_dead_and_the_consumer_goes_on(
        self, broker: Broker
    ) -> None:
        plain = broker.queue("q")
        await plain.put({"sku": "tea"}, headers={"mine": "1"})
        await plain.put({"sku": ["no"]}, headers={"mine": "2"})
        await plain.put({"sku": "rice"})
        queue = broker.queue("q", Order, dead_letter="dead")
        ids: list[str] = []
        found: list[str] = []
        async for message in queue:
            try:
                async with message:
                    ids.append(message.id)
                    found.append(message.body.sku)
            except BodyError as error:
                found.append(error.message_id)
            if len(found) == 3:
                break
        assert found == ["tea", ids[1], "rice"]
        dead = await take(broker.queue("dead"))
        assert dead.raw == b'{"sku":["no"]}'
        assert dead.attempts == 1
        headers = dead.headers
        assert (headers["mine"], headers["posthouse-reason"]) == ("2", "undecodable")
        assert "Expected `str`, got `array`" in headers["posthouse-error"]
        await soon(queue.join())

    @pytest.mark.parametrize("compress", [None, "zstd"])
    async def test_a_type_that_changed_between_versions(
        self, broker: Broker, compress: Any
    ) -> None:
        if compress:
            pytest.importorskip("zstandard")
        sku = "tea" * 200
        await broker.queue("q", Order, compress=compress).put(Order(sku, 7))
        newer = broker.queue("q", NextOrder, dead_letter="dead")
        with pytest.raises(BodyError, match="customer"):
            async with await take(newer) as message:
                _ = message.body
        # The program is mended, and the letter goes back where it died: nothing was lost.
        assert await broker.queue("dead").redrive() == 1
        assert (await take(broker.queue("q", Order))).body == Order(sku, 7)

    async def test_an_error_about_another_body_is_retried(self, broker: Broker) -> None:
        await broker.queue("q").put({"sku": "tea"})
        await broker.queue("other").put({"sku": 1})
        other = await take(broker.queue("other", Order))
        message: Message[Order] = await take(broker.queue("q", Order))
        with pytest.raises(BodyError):
            async with message:
                _ = other.body
        assert (message.settled, other.settled) == ("nack", None)

    @pytest.mark.parametrize("codec", ["pickle", "", "application/x-unheard-of", 1])
    async def test_an_unknown_codec(self, broker: Broker, codec: Any) -> None:
        with pytest.raises(BadArgument, match="no codec"):
            broker.queue("q", codec=codec)

    @pytest.mark.parametrize("compress", ["gzip", "", 1])
    async def test_an_unknown_compression(self, broker: Broker, compress: Any) -> None:
        with pytest.raises(BadArgument, match="zstd"):
            broker.queue("q", compress=compress)
