"""A worker whose bodies are a pydantic model's, compressed, or beyond reading."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pydantic
import pytest

import posthouse
from posthouse import BodyError, Worker


class Order(pydantic.BaseModel):
    sku: str
    quantity: int = pydantic.Field(gt=0)


@pytest.mark.parametrize("compress", [None, "zstd"])
async def test_the_worker_goes_on_after_a_body_that_does_not_decode(
    compress: Any, caplog: pytest.LogCaptureFixture
) -> None:
    padding = "x" * 500
    async with posthouse.open("memory:") as broker:
        orders = broker.queue("orders", compress=compress)
        for quantity in (1, -77, 2):
            await orders.put({"sku": padding, "quantity": quantity})
        worker = Worker(broker)
        seen: list[int] = []

        @worker.task("orders", concurrency=1)
        async def ship(order: Order) -> None:
            seen.append(order.quantity)
            if len(seen) == 2:
                worker.stop()

        with caplog.at_level(logging.WARNING, "posthouse.worker"):
            await worker.run()
        assert seen == [1, 2]
        assert "Input should be greater than 0" in caplog.text
        assert "-77" not in caplog.text
        dead = await broker.queue("orders.dead").get()
        assert dead.body == {"sku": padding, "quantity": -77}
        assert dead.headers["posthouse-reason"] == "undecodable"
        assert dead.headers.get("content-encoding") == compress


async def test_a_body_error_of_a_handler_that_did_not_look_at_its_body_is_retried() -> None:
    async with posthouse.open("memory:") as broker:
        retry = posthouse.Retry(max_attempts=2, backoff="fixed", first_s=0.0)
        orders = broker.queue("orders", retry=retry)
        await orders.put({"sku": "tea"})
        worker = Worker(broker)

        @worker.task("orders")
        async def forward(message: posthouse.Message[Any]) -> None:
            await orders.put(object())

        run = asyncio.create_task(worker.run())
        dead = await broker.queue("orders.dead").get()
        worker.stop()
        await run
        assert dead.headers["posthouse-attempts"] == "2"
        assert dead.headers["posthouse-error"].startswith(BodyError.__name__)
