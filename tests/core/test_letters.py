"""What a dead letter tells."""

from __future__ import annotations

import msgspec
import pytest

from posthouse.core import letters

AT_NS = 1_700_000_000_123_456_789


def read(death: bytes) -> dict[str, str]:
    return msgspec.msgpack.decode(death, type=dict[str, str])


def test_a_death() -> None:
    death = letters.death_headers("orders", "max_attempts", "ValueError: x", 3, AT_NS)
    assert read(death) == {
        "posthouse-origin": "orders",
        "posthouse-reason": "max_attempts",
        "posthouse-error": "ValueError: x",
        "posthouse-attempts": "3",
        "posthouse-died-at": "2023-11-14T22:13:20.123457+00:00",
    }
    assert letters.origin_of(death) == "orders"
    assert letters.origin_of(b"") == ""


def test_without_an_error() -> None:
    assert letters.ERROR not in read(letters.death_headers("q", "rejected", None, 1, AT_NS))


@pytest.mark.parametrize(
    "text", ["x" * 10_000, "茶" * 10_000, "\ud800" * 10_000, "\U0001f600" * 10_000, "a\udcffb"]
)
def test_texts_fit_their_bound(text: str) -> None:
    origin = "q" * 200
    death = letters.death_headers(origin, text, text, 10_000, AT_NS)
    headers = read(death)
    assert len(headers["posthouse-reason"]) <= letters.MAX_TEXT_CHARACTERS
    assert len(headers["posthouse-error"]) <= letters.MAX_TEXT_CHARACTERS
    assert len(death) < letters.size_bound(text, text)
