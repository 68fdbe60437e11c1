"""docs/protocol.md says what the code says: its examples, its tags, its verbs, its fields."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from posthouse.server.asks import VERBS
from posthouse.wire import answers, requests
from posthouse.wire.connection import ClientSide, ServerSide, encode

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
TEXT = PAGE.read_text(encoding="utf-8")


def conversation() -> list[tuple[str, Any, bytes]]:
    block = TEXT.split("byte by byte")[1].split("```text\n")[1].split("```")[0]
    found: list[tuple[str, Any, bytes]] = []
    for line in block.splitlines():
        if line.startswith("    "):
            who, value, data = found[-1]
            found[-1] = (who, value, data + bytes.fromhex(line))
        elif not line.startswith("#"):
            who, _, value = line.partition(" ")
            found.append((who, ast.literal_eval(value), b""))
    return found


def test_the_conversation() -> None:
    server, client = ServerSide(), ClientSide()
    lines = conversation()
    assert len(lines) >= 10
    for who, value, data in lines:
        assert int.from_bytes(data[:4]) == len(data) - 4
        assert msgspec.msgpack.decode(data[4:]) == value
        (message,) = (server if who == "client" else client).receive(data)
        assert bytes(encode(message)) == data


def documented() -> dict[str, tuple[int, str]]:
    rows = re.findall(r"^\| (\d+) \| (\w+) \| ([^|]*)\|", TEXT, re.MULTILINE)
    return {name: (int(tag), fields) for tag, name, fields in rows}


def kinds() -> list[type[msgspec.Struct]]:
    return [kind for union in (requests.FromClient, answers.FromServer) for kind in union.__args__]


def test_every_message_is_on_the_page_and_no_other() -> None:
    shown = {name: tag for name, (tag, _) in documented().items()}
    real = {kind.__name__: kind.__struct_config__.tag for kind in kinds()}
    assert shown == real


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_the_fields_stand_in_their_order(kind: type[msgspec.Struct]) -> None:
    text = documented()[kind.__name__][1]
    places = [re.search(rf"\b{name}\b", text) for name in kind.__struct_fields__]
    assert all(places), f"{kind.__name__}: {kind.__struct_fields__} on the page: {text}"
    starts = [place.start() for place in places if place is not None]
    assert starts == sorted(starts)


def test_every_verb_is_on_the_page() -> None:
    section = TEXT.split("Verbs of Ask")[1].split("## What a server says")[0]
    shown = {
        name
        for row in re.findall(r"^\| ([a-z_, ]+) \|", section, re.MULTILINE)
        for name in row.split(", ")
    } - {"verb"}
    assert shown == set(VERBS)
