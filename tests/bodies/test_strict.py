"""JSON and msgpack: what is neither read nor written."""

from __future__ import annotations

import decimal
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.bodies import PLAIN, BodyDecoder, BodyEncoder
from posthouse.errors import BodyError, MessageTooLarge
from posthouse.model import KIND_BYTES, KIND_JSON, KIND_MSGPACK, KIND_TEXT, MAX_BODY_BYTES

NAN = float("nan")
ANYTHING = BodyDecoder()

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


class Reading(msgspec.Struct):
    value: float | None
    note: str = ""


@given(VALUES.filter(lambda value: not isinstance(value, str)))
def test_json_round_trip(value: Any) -> None:
    kind, data = PLAIN.encode(value)
    assert kind == KIND_JSON
    assert ANYTHING.decode(kind, data) == value


@given(VALUES | st.binary())
def test_msgpack_round_trip(value: Any) -> None:
    kind, data = BodyEncoder("msgpack").encode(value)
    assert kind == KIND_MSGPACK
    assert ANYTHING.decode(kind, data) == value


@given(VALUES, st.sampled_from([NAN, float("inf"), float("-inf")]), st.randoms())
def test_what_is_not_finite_is_found_wherever_it_is(value: Any, bad: float, random: Any) -> None:
    # Replace one of the leaves, or wrap it where there is none.
    def put_in(node: Any) -> Any:
        if isinstance(node, list) and node:
            at = random.randrange(len(node))
            return [put_in(each) if i == at else each for i, each in enumerate(node)]
        if isinstance(node, dict) and node:
            at = random.choice(list(node))
            return {key: put_in(each) if key == at else each for key, each in node.items()}
        return bad

    with pytest.raises(BodyError, match="NaN"):
        BodyEncoder("json").encode(put_in(value))


@pytest.mark.parametrize(
    "body",
    [
        NAN,
        (1, NAN),
        Reading(NAN),
        {"a": None, "big": 10**30, "b": NAN},
        frozenset({NAN}),
        {"a": [Reading(None), Reading(float("inf"))]},
    ],
)
def test_what_is_not_finite_is_not_written_as_null(body: Any) -> None:
    with pytest.raises(BodyError, match="NaN and the infinities are no JSON"):
        PLAIN.encode(body)


@pytest.mark.parametrize(
    "body",
    [
        None,
        Reading(None, "null"),
        {"null": "null", "big": 10**30},
        [None, "\xcb\x7f\xf8 null", 1.5],
        # In msgpack these bytes look like NaN's, and are none.
        [None, msgspec.msgpack.decode(b"\xcf\xcb\x7f\xf8\x00\x00\x00\x00\x00")],
        [None, decimal.Decimal("NaN")],
    ],
)
def test_null_is_written_where_it_is_meant(body: Any) -> None:
    kind, data = PLAIN.encode(body)
    assert kind == KIND_JSON
    assert data == msgspec.json.encode(body)


def test_msgpack_keeps_what_is_not_finite() -> None:
    kind, data = BodyEncoder("msgpack").encode([NAN, float("-inf")])
    first, second = ANYTHING.decode(kind, data)
    assert first != first
    assert second == float("-inf")


@pytest.mark.parametrize("body_type", [None, list[float], Reading, dict[str, Any]])
@pytest.mark.parametrize(
    "data",
    [
        b"NaN",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b'{"value":NaN}',
        b"[1e999]",
        b'{"value":1e999}',
        b"1" * 5000,
        b"[" + b"9" * 1_000_000 + b"]",
        b'{"value":' + b"9" * 400 + b".5}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"value":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"other":' * 50_000 + b"1" + b"}" * 50_000,
        b"",
        b"[1,]",
        b"[1] [2]",
        b"['a']",
        b"[01]",
        b'["\xff"]',
        b'["\\ud800"]',
        b"\xef\xbb\xbf[]",
    ],
    ids=lambda data: repr(data[:12]) if isinstance(data, bytes) else str(data),
)
def test_what_is_no_json_is_not_read(data: bytes, body_type: Any) -> None:
    with pytest.raises(BodyError):
        BodyDecoder(body_type).decode(KIND_JSON, data)


def test_the_last_of_a_key_that_is_there_twice_counts() -> None:
    data = b'{"value":1,"value":2}'
    assert ANYTHING.decode(KIND_JSON, data) == {"value": 2}
    assert BodyDecoder(Reading).decode(KIND_JSON, data) == Reading(2)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",  # an array, a map and a text of four billion items
        b"\xdf\xff\xff\xff\xff\x01\x01",
        b"\xdb\xff\xff\xff\xffabc",
        b"\xc1",
        b"\x01\x01",
        b"\xa1\xff",
        b"\x81\x91\x01",
    ],
)
def test_what_is_no_msgpack_is_not_read(data: bytes) -> None:
    with pytest.raises(BodyError):
        ANYTHING.decode(KIND_MSGPACK, data)


@given(st.binary(max_size=200), st.integers(0, 255))
def test_whatever_the_bytes_are_the_error_is_about_the_body(data: bytes, kind: int) -> None:
    for decoder in (ANYTHING, BodyDecoder(Reading), BodyDecoder(str)):
        try:
            decoder.decode(kind, data)
        except BodyError:
            pass


def test_an_integer_of_more_digits_than_the_interpreter_writes() -> None:
    with pytest.raises(BodyError, match="digits"):
        PLAIN.encode([10 ** (sys.get_int_max_str_digits() + 1)])


@pytest.mark.parametrize("codec", [None, "json", "msgpack", "text", "bytes"])
def test_too_large(codec: str | None) -> None:
    body = b"x" * (MAX_BODY_BYTES + 1) if codec == "bytes" else "x" * (MAX_BODY_BYTES + 1)
    with pytest.raises(MessageTooLarge):
        BodyEncoder(codec).encode(body)


def test_bytes_are_not_copied() -> None:
    body = b"raw"
    for codec in (None, "bytes"):
        encoder = BodyEncoder(codec)
        assert encoder.as_is is bytes
        assert encoder.encode(body) == (KIND_BYTES, body)
        assert encoder.encode(body)[1] is body
    assert PLAIN.encode("é") == (KIND_TEXT, "é".encode())


@pytest.mark.parametrize("codec", ["json", "msgpack", "text"])
def test_a_codec_that_writes_bytes_otherwise_sees_them(codec: str) -> None:
    assert not isinstance(b"raw", BodyEncoder(codec).as_is)


def test_nothing_here_knows_how_to_unpickle() -> None:
    import posthouse.bodies as package

    names = {name for name in sys.modules if name.startswith(package.__name__)}
    assert len(names) >= 8
    for name in names:
        assert not {"pickle", "marshal", "shelve", "dill"} & vars(sys.modules[name]).keys()
