"""How a handler's signature is read."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
import pytest

from posthouse import BadArgument, InvalidName, Message, Worker
from posthouse.worker.task import Task, make_task


class Order(msgspec.Struct):
    sku: str


class Invoice(msgspec.Struct):
    number: int


class Delivery:
    """Stands in for a message where only its body is looked at."""

    body = "the body"


def read(handler: Any, **bounds: Any) -> Task:
    settings = {"concurrency": 1, "timeout_s": None, "visibility_timeout_s": 30.0, **bounds}
    body_type = settings.pop("body_type", None)
    return make_task(handler, "orders", body_type=body_type, names={}, **settings)


async def called(handler: Any) -> Any:
    message: Any = Delivery()
    return await read(handler).call(message)


async def test_the_first_parameter_gets_the_body() -> None:
    async def handle(order: Any) -> Any:
        return order

    assert await called(handle) == "the body"


async def test_a_parameter_annotated_message_gets_the_message() -> None:
    async def second(body: Any, message: Message[Any]) -> Any:
        return body, type(message)

    async def only(message: Message) -> Any:  # type: ignore[type-arg]
        return type(message)

    async def by_name(body: Any, *, delivery: Message[Any]) -> Any:
        return body, type(delivery)

    async def only_by_name(*, delivery: Message[Any]) -> Any:
        return type(delivery)

    assert await called(second) == ("the body", Delivery)
    assert await called(only) is Delivery
    assert await called(by_name) == ("the body", Delivery)
    assert await called(only_by_name) is Delivery


async def test_a_method_a_partial_and_a_callable_object_can_be_handlers() -> None:
    class Shop:
        async def ship(self, order: Order) -> Any:
            return order

        async def __call__(self, order: Order) -> Any:
            return order

    async def ship(shop: str, order: Any) -> Any:
        return shop, order

    assert await called(Shop().ship) == "the body"
    assert await called(Shop()) == "the body"
    assert read(Shop()).body_type is Order
    assert await called(functools.partial(ship, "corner")) == ("corner", "the body")


def test_the_body_type_is_the_annotation_of_the_first_parameter() -> None:
    async def typed(order: Order) -> None: ...
    async def listed(orders: list[Order], message: Message[Any]) -> None: ...
    async def anything(order: Any) -> None: ...
    async def bare(order) -> None: ...  # type: ignore[no-untyped-def]
    async def message_only(message: Message[Order]) -> None: ...

    assert read(typed).body_type is Order
    assert read(listed).body_type == list[Order]
    assert read(anything).body_type is None
    assert read(bare).body_type is None
    assert read(message_only).body_type is None
    assert read(typed, body_type=dict).body_type is dict


def test_a_type_defined_beside_the_handler_is_found() -> None:
    class Local(msgspec.Struct):
        sku: str

    worker = Worker("memory:")

    @worker.task("orders")
    async def ship(order: Local) -> None: ...

    assert [task.body_type for task in worker.tasks] == [Local]


def test_what_cannot_be_a_handler_is_refused() -> None:
    def blocking(order: Any) -> None: ...
    async def nothing() -> None: ...
    async def too_much(order: Any, database: str) -> None: ...
    async def undecodable(order: complex) -> None: ...
    async def ambiguous(order: Order | Invoice) -> None: ...
    async def unknown(order: NoSuchType) -> None: ...  # type: ignore[name-defined] # noqa: F821

    for handler, text in (
        (blocking, "async def"),
        (nothing, "takes no message"),
        (too_much, "'database'"),
        (undecodable, "complex"),
        (ambiguous, "multiple Struct types"),
        (unknown, "NoSuchType"),
    ):
        with pytest.raises(BadArgument, match=text):
            read(handler)


@pytest.mark.parametrize(
    "bounds",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": 1.5},
        {"concurrency": 100_001},
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"timeout_s": float("inf")},
        {"visibility_timeout_s": 0.0},
        {"visibility_timeout_s": -1.0},
    ],
)
def test_a_bound_outside_what_is_allowed_is_refused(bounds: dict[str, Any]) -> None:
    async def handle(order: Any) -> None: ...

    with pytest.raises(BadArgument):
        read(handle, **bounds)


def test_registration_is_checked() -> None:
    worker = Worker("memory:")

    @worker.task("orders")
    async def ship(order: Any) -> None: ...

    with pytest.raises(BadArgument, match="already has the handler"):
        worker.task("orders")(ship)
    with pytest.raises(InvalidName):
        worker.task("../orders")(ship)
    with pytest.raises(BadArgument):
        Worker("memory:", drain_timeout=-1)
