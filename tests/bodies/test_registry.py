"""Codecs of the program's own, and what their content types do to the headers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from posthouse import bodies
from posthouse.bodies import BodyDecoder, BodyEncoder, content_type, encode_headers
from posthouse.errors import BadArgument, BodyError, MessageTooLarge
from posthouse.model import (
    KIND_BYTES,
    KIND_COMPRESSED,
    KIND_JSON,
    KIND_MSGPACK,
    KIND_NAMED,
    KIND_TEXT,
    MAX_BODY_BYTES,
)

TYPE = "application/x-test"


class Order(msgspec.Struct):
    sku: str


class Opaque:
    """What only its own codec can make."""

    def __init__(self, text: str) -> None:
        self.text = text


def label(name: str) -> bytes:
    return encode_headers({"content-type": name})


def register(
    encode: Callable[[Any], Any] = lambda body: json.dumps(body).encode(),
    decode: Callable[[bytes], Any] = json.loads,
) -> None:
    bodies.register(TYPE, encode, decode, name="test")


@pytest.mark.parametrize("codec", ["test", TYPE])
def test_by_name_and_by_content_type(codec: str) -> None:
    register()
    encoder = BodyEncoder(codec)
    kind, data = encoder.encode({"sku": "tea"})
    assert (kind, data) == (KIND_NAMED, b'{"sku": "tea"}')
    headers = encoder.label(kind, {"mine": "1"})
    assert headers == {"mine": "1", "content-type": TYPE}
    packed = encode_headers(headers)
    assert content_type(kind, packed) == TYPE
    assert BodyDecoder().decode(kind, data, packed) == {"sku": "tea"}
    assert BodyDecoder(Order).decode(kind, data, packed) == Order("tea")
    with pytest.raises(BodyError, match="sku"):
        BodyDecoder(Order).decode(kind, b"{}", packed)


def test_an_object_that_only_the_codec_can_make() -> None:
    register(lambda body: body.text.encode(), lambda data: Opaque(data.decode()))
    kind, data = BodyEncoder("test").encode(Opaque("tea"))
    made = BodyDecoder(Opaque).decode(kind, data, label(TYPE))
    assert isinstance(made, Opaque)
    assert made.text == "tea"
    with pytest.raises(BodyError, match="Opaque"):
        BodyDecoder(Opaque).decode(KIND_JSON, b'{"text":"tea"}')


def test_registered_again_it_is_replaced() -> None:
    register()
    register(decode=lambda data: "second")
    assert BodyDecoder().decode(KIND_NAMED, b"", label(TYPE)) == "second"


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("x"), RecursionError("x")])
def test_whatever_a_codec_raises_is_about_the_body(error: Exception) -> None:
    def fail(_: object) -> Any:
        raise error

    register(fail, fail)
    with pytest.raises(BodyError, match=TYPE) as caught:
        BodyEncoder("test").encode(1)
    assert caught.value.__cause__ is error
    with pytest.raises(BodyError, match=TYPE) as caught:
        BodyDecoder().decode(KIND_NAMED, b"", label(TYPE))
    assert caught.value.__cause__ is error


def test_want_of_memory_is_not_the_bodys_fault() -> None:
    def fail(_: object) -> Any:
        raise MemoryError

    register(fail, fail)
    with pytest.raises(MemoryError):
        BodyEncoder("test").encode(1)
    with pytest.raises(MemoryError):
        BodyDecoder().decode(KIND_NAMED, b"", label(TYPE))


def test_what_a_codec_returns_is_checked() -> None:
    register(lambda body: body)
    encoder = BodyEncoder("test")
    assert encoder.encode(b"raw") == (KIND_NAMED, b"raw")
    with pytest.raises(BodyError, match="returned str"):
        encoder.encode("text")
    with pytest.raises(MessageTooLarge):
        encoder.encode(bytes(MAX_BODY_BYTES + 1))


@pytest.mark.parametrize(
    ("name", "data", "body"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON", b"[1]", [1]),
        ("application/octet-stream", b"[1]", b"[1]"),
        ("text/plain; charset=utf-8", b"[1]", "[1]"),
        ("application/msgpack", b"\x91\x01", [1]),
    ],
)
def test_a_built_in_type_may_name_itself_too(name: str, data: bytes, body: Any) -> None:
    assert BodyDecoder().decode(KIND_NAMED, data, label(name)) == body


@pytest.mark.parametrize(
    "headers",
    [b"", label("application/x-unheard-of"), label(""), label("pickle"), label("x" * 9999)],
)
def test_a_content_type_that_is_not_known(headers: bytes) -> None:
    with pytest.raises(BodyError, match="no codec is registered") as caught:
        BodyDecoder().decode(KIND_NAMED, b"", headers)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("kind", [16, 32, 64, 128, 255, 256, 16 | KIND_NAMED])
def test_a_kind_of_a_later_version(kind: int) -> None:
    with pytest.raises(BodyError, match="does not know"):
        BodyDecoder().decode(kind, b"", label(TYPE))


@pytest.mark.parametrize(
    "name",
    [
        "",
        "yaml",
        "a/",
        "/b",
        "a/b/c",
        "A/B",
        "a b/c",
        "a/b\n",
        "a/" + "b" * 101,
        "application/json",
        1,
    ],
)
def test_what_is_no_content_type(name: Any) -> None:
    with pytest.raises(BadArgument):
        bodies.register(name, bytes, bytes)


@pytest.mark.parametrize(
    "name", ["json", "msgpack", "text", "bytes", "", "a/b", "-x", 1, "x" * 101]
)
def test_what_cannot_name_a_codec(name: Any) -> None:
    with pytest.raises(BadArgument):
        bodies.register(TYPE, bytes, bytes, name=name)


def test_a_codec_is_two_functions() -> None:
    with pytest.raises(BadArgument):
        bodies.register(TYPE, None, bytes)  # type: ignore[arg-type]
    with pytest.raises(BadArgument):
        bodies.register(TYPE, bytes, "decode")  # type: ignore[arg-type]


def test_headers_that_say_something_else() -> None:
    register()
    encoder = BodyEncoder("test")
    assert encoder.label(KIND_NAMED, None) == {"content-type": TYPE}
    assert encoder.label(KIND_NAMED, {"content-type": TYPE}) == {"content-type": TYPE}
    for name in ("content-type", "Content-Type"):
        with pytest.raises(BadArgument, match="text/html"):
            encoder.label(KIND_NAMED, {name: "text/html"})
    with pytest.raises(BadArgument, match="mapping"):
        encoder.label(KIND_NAMED, [("a", "b")])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [KIND_JSON, KIND_TEXT, KIND_BYTES, KIND_MSGPACK])
def test_the_plain_kinds_need_no_headers(kind: int) -> None:
    headers = {"content-type": "image/png"}
    assert BodyEncoder().label(kind, headers) is headers
    assert "/" in content_type(kind)
    assert content_type(kind) == content_type(kind | KIND_COMPRESSED)
