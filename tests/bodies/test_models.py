"""pydantic's models, alone and inside other types; and pydantic only where it is asked for."""

from __future__ import annotations

import subprocess
import sys
import traceback
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from posthouse.bodies import PLAIN, BodyDecoder, BodyEncoder, check_type
from posthouse.errors import BadArgument, BodyError
from posthouse.model import KIND_BYTES, KIND_JSON, KIND_TEXT

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Order(pydantic.BaseModel):
    sku: str
    quantity: int = pydantic.Field(gt=0)
    sent_at: datetime | None = None
    price: Decimal | None = None


class Strict(pydantic.BaseModel, strict=True, extra="forbid"):
    when: datetime
    number: int = pydantic.Field(alias="theNumber")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.number * 2


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int


class Dog(pydantic.BaseModel):
    kind: Literal["dog"] = "dog"
    name: str


class Reading(pydantic.BaseModel):
    value: float


class Envelope(msgspec.Struct):
    order: Order
    others: list[Order]


@pydantic.dataclasses.dataclass
class Point:
    x: int = pydantic.Field(gt=0)


ORDER = Order(sku="tea", quantity=2, sent_at=WHEN, price=Decimal("1.10"))
CASES: list[tuple[Any, Any]] = [
    (Order, ORDER),
    (Strict, Strict(when=WHEN, theNumber=3)),
    (list[Order], [ORDER, ORDER]),
    (dict[str, Order], {"a": ORDER}),
    (Order | None, ORDER),
    (Order | None, None),
    (Cat | Dog, Dog(name="Rex")),
    (Annotated[Cat | Dog, pydantic.Field(discriminator="kind")], Cat(lives=9)),
    (Envelope, Envelope(ORDER, [ORDER])),
    (Point, Point(3)),
]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize(("body_type", "body"), CASES, ids=str)
def test_round_trip(body_type: Any, body: Any, codec: str) -> None:
    check_type(body_type)
    kind, data = BodyEncoder(codec).encode(body)
    assert BodyDecoder(body_type).decode(kind, data) == body


def test_json_is_what_the_model_says_by_alias() -> None:
    kind, data = PLAIN.encode(Strict(when=WHEN, theNumber=3))
    assert (kind, data) == (KIND_JSON, b'{"when":"2026-01-02T03:04:05Z","theNumber":3}')


@pytest.mark.parametrize("body_type", [Order, list[Order], Envelope, Cat | Dog, Point])
@pytest.mark.parametrize("kind", [KIND_JSON, KIND_TEXT, KIND_BYTES])
@pytest.mark.parametrize("data", [b"", b"{}", b"[{}]", b"null", b'"text"', b"\xff", b"[" * 100_000])
def test_what_does_not_fit(body_type: Any, kind: int, data: bytes) -> None:
    with pytest.raises(BodyError):
        BodyDecoder(body_type).decode(kind, data)


@pytest.mark.parametrize(
    ("body_type", "data", "where"),
    [
        (list[Order], b'[{"sku":["secret"],"quantity":0}]', "0."),
        (Order, b'{"sku":["secret"],"quantity":0}', ""),
        (Envelope, b'{"order":{"sku":["secret"],"quantity":0},"others":[]}', ""),
    ],
)
def test_the_error_tells_where_and_not_what(body_type: Any, data: bytes, where: str) -> None:
    with pytest.raises(BodyError) as caught:
        BodyDecoder(body_type).decode(KIND_JSON, data)
    text = str(caught.value)
    assert f"{where}sku: Input should be a valid string" in text
    assert f"{where}quantity: Input should be greater than 0" in text
    assert "\n" not in text
    assert "http" not in text
    # Nor does a log that shows the error with its traceback.
    assert "secret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("body_type", [Reading, list[Reading]])
@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_json_is_as_strict_as_without_pydantic(body_type: Any, number: bytes) -> None:
    data = b'{"value":' + number + b"}"
    with pytest.raises(BodyError):
        BodyDecoder(body_type).decode(
            KIND_JSON, data if body_type is Reading else b"[" + data + b"]"
        )


@pytest.mark.parametrize("body", [Reading(value=float("nan")), [None, Reading(value=float("inf"))]])
def test_nan_in_a_model_is_not_written(body: Any) -> None:
    with pytest.raises(BodyError, match="NaN"):
        PLAIN.encode(body)


def test_a_body_that_is_no_models() -> None:
    assert BodyDecoder(Order | str).decode(KIND_TEXT, b"text") == "text"
    assert BodyDecoder(Order | bytes).decode(KIND_BYTES, b"\xff") == b"\xff"
    with pytest.raises(BodyError):
        BodyDecoder(list[int] | Order).decode(KIND_BYTES, b"[1]")


def test_a_type_that_pydantic_cannot_read() -> None:
    class Opaque:
        pass

    with pytest.raises(BadArgument, match="Opaque"):
        BodyDecoder(list[Order] | Opaque)
    with pytest.raises(BadArgument, match="Opaque"):
        check_type(Opaque)


def test_pydantic_is_imported_only_for_a_type_of_its_own() -> None:
    program = """
import sys, msgspec, posthouse
from posthouse.bodies import PLAIN, BodyDecoder, BodyEncoder
class Order(msgspec.Struct):
    sku: str
for codec in (None, "msgpack"):
    kind, data = BodyEncoder(codec).encode(Order("tea"))
    assert BodyDecoder(Order).decode(kind, data) == Order("tea")
assert not {"pydantic", "zstandard", "pickle5"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
