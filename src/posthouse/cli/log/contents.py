"""A stored message in what ``posthouse log dump`` prints: its body shortened, unless asked."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec

from posthouse import bodies
from posthouse.errors import BodyError
from posthouse.journal.tools.texts import counted, id_text, time_text
from posthouse.model import (
    KIND_BYTES,
    KIND_COMPRESSED,
    KIND_JSON,
    KIND_MSGPACK,
    KIND_NAMED,
    KIND_TEXT,
)
from posthouse.records import Entry, Traits

SHOWN_BYTES: Final = 60
_KINDS: Final = {
    KIND_JSON: "json",
    KIND_TEXT: "text",
    KIND_BYTES: "bytes",
    KIND_MSGPACK: "msgpack",
    KIND_NAMED: "named",
}


def kind_text(kind: int) -> str:
    """How a body was written."""
    name = _KINDS.get(kind & ~KIND_COMPRESSED, str(kind))
    return f"{name}, compressed" if kind & KIND_COMPRESSED else name


def message_line(entry: Entry, whole: bool) -> str:
    """A message on one line."""
    number, kind, body, headers, traits = entry
    shown = body if whole else body[:SHOWN_BYTES]
    text = shown.decode(errors="backslashreplace").replace("\n", "\\n").replace("\r", "\\r")
    if len(shown) < len(body):
        text += "..."
    parts = [f"{id_text(number)} ({kind_text(kind)}, {counted(len(body), 'byte')}) {text}"]
    if headers:
        parts.append(f"headers {_headers(headers)}")
    if traits is not None:
        parts += [f"{name} {value}" for name, value in traits_record(traits).items()]
    return "; ".join(parts)


def message_record(entry: Entry, whole: bool) -> dict[str, Any]:
    """A message for JSON."""
    number, kind, body, headers, traits = entry
    record: dict[str, Any] = {
        "id": id_text(number),
        "kind": kind_text(kind),
        "size_bytes": len(body),
    }
    if not whole:
        record["body_start"] = body[:SHOWN_BYTES].decode(errors="backslashreplace")
    else:
        name, value = _body(kind, body)
        record[name] = value
    if headers:
        record["headers"] = _headers(headers)
    if traits is not None:
        record |= traits_record(traits)
    return record


def traits_record(traits: Traits) -> dict[str, Any]:
    """What only some messages have: those of them that this one has."""
    found: dict[str, Any] = {}
    if traits.due_ns:
        found["due"] = time_text(traits.due_ns)
    if traits.rank:
        found["rank"] = id_text(traits.rank)
    if traits.death:
        found["death"] = _headers(traits.death)
    if traits.key:
        found["key"] = traits.key
    if traits.priority:
        found["priority"] = traits.priority
    if traits.expires_ns:
        found["expires"] = time_text(traits.expires_ns)
    if traits.dedup:
        found["dedup"] = traits.dedup
    return found


def _body(kind: int, body: bytes) -> tuple[str, Any]:
    try:
        if kind == KIND_JSON:
            msgspec.json.decode(body)
            return "body", msgspec.Raw(body)
        if kind == KIND_TEXT:
            return "body", body.decode()
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    return "body_base64", base64.b64encode(body).decode()


def _headers(data: bytes) -> Any:
    try:
        return bodies.decode_headers(data)
    except BodyError:
        return data.decode(errors="backslashreplace")
