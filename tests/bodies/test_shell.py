"""What the command line shows of bodies that are not plain JSON, text or bytes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

import posthouse
from posthouse import bodies
from posthouse.cli.output import write_message

LONG = {"sku": "tea" * 200}


async def shown(
    capfdbinary: pytest.CaptureFixture[bytes], body: Any, **handle: Any
) -> tuple[bytes, dict[str, Any]]:
    async with posthouse.open("memory:") as broker:
        await broker.queue("q", **handle).put(body)
        message = await broker.queue("q").get()
        write_message(message, as_json=False)
        plain = capfdbinary.readouterr().out.removesuffix(b"\n")
        write_message(message, as_json=True)
        return plain, json.loads(capfdbinary.readouterr().out)


@pytest.mark.parametrize("body", [LONG, [1, None], 7])
@pytest.mark.parametrize("handle", [{}, {"codec": "msgpack"}, {"compress": "zstd"}])
async def test_objects_are_shown_as_json(
    capfdbinary: pytest.CaptureFixture[bytes], body: Any, handle: dict[str, str]
) -> None:
    plain, record = await shown(capfdbinary, body, **handle)
    assert json.loads(plain) == body
    assert record["body"] == body


async def test_compressed_text_and_bytes(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    plain, record = await shown(capfdbinary, "text" * 200, compress="zstd")
    assert (plain, record["body"]) == (b"text" * 200, "text" * 200)
    plain, record = await shown(capfdbinary, b"raw" * 200, compress="zstd")
    assert (plain, base64.b64decode(record["body_base64"])) == (b"raw" * 200, b"raw" * 200)


async def test_what_is_no_json_or_cannot_be_read_is_shown_as_stored(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    _, record = await shown(capfdbinary, [float("nan")], codec="msgpack")
    assert base64.b64decode(record["body_base64"])[:2] == b"\x91\xcb"

    def fail(data: bytes) -> Any:
        raise ValueError("no")

    bodies.register("application/x-unreadable", lambda body: b"stored", fail)
    plain, record = await shown(capfdbinary, 1, codec="application/x-unreadable")
    assert plain == b"stored"
    assert base64.b64decode(record["body_base64"]) == b"stored"
