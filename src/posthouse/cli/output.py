"""How messages and tables look: for people, for pipes, and for machines."""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table

from posthouse import bodies
from posthouse.errors import BodyError, MessageTooLarge
from posthouse.message import Message
from posthouse.model import KIND_BYTES, KIND_JSON

AS_JSON: Final = bodies.BodyEncoder("json")


def write_json(value: object) -> None:
    """One value as one line of JSON."""
    _write(msgspec.json.encode(value) + b"\n")


def write_line(text: str) -> None:
    """One line of text; on a terminal, characters that would control it are shown escaped."""
    if sys.stdout.isatty():
        text = "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)
    _write(text.encode(errors="backslashreplace") + b"\n")


def write_message(message: Message[Any], *, as_json: bool) -> None:
    """A message on one line: its body, or with ``as_json`` everything about it."""
    if as_json:
        write_json(message_record(message))
        return
    data = message.raw
    if message.entry[1] > KIND_BYTES:
        # msgpack, compressed, or a program's own: legible if this process can read it.
        try:
            body = message.body
            data = body if isinstance(body, bytes) else bodies.PLAIN.encode(body)[1]
        except (BodyError, MessageTooLarge):
            pass
    if sys.stdout.isatty():
        write_line(data.decode(errors="backslashreplace"))
    else:
        _write(data + b"\n")


def message_record(message: Message[Any]) -> dict[str, object]:
    """What ``--json`` says of a message; a body of bytes is in ``body_base64``."""
    record: dict[str, object] = {
        "id": message.id,
        "queue": message.queue_name,
        "attempts": message.attempts,
        "enqueued_at": message.enqueued_at,
        "headers": message.headers,
    }
    text = message.raw  # numbers as they were written
    try:
        body = message.body
        if message.entry[1] != KIND_JSON and not isinstance(body, (bytes, str)):
            text = AS_JSON.encode(body)[1]
    except (BodyError, MessageTooLarge):
        body = message.raw
    if isinstance(body, bytes):
        record["body_base64"] = base64.b64encode(body).decode()
    elif isinstance(body, str):
        record["body"] = body
    else:
        record["body"] = msgspec.Raw(text)
    return record


def write_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, plain aligned columns elsewhere. Numbers stand right."""
    numeric = [all(_is_number(row[i]) for row in rows) for i in range(len(head))]
    if sys.stdout.isatty():
        table = Table()
        for title, right in zip(head, numeric, strict=True):
            table.add_column(title, justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console().print(table)
        return
    widths = [max(len(line[i]) for line in [head, *rows]) for i in range(len(head))]
    for line in [head, *rows]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        write_line("  ".join(cells).rstrip())


def flush() -> None:
    """Push out what was written; raises BrokenPipeError when nobody reads any more."""
    sys.stdout.flush()


def human_size(size_bytes: int) -> str:
    """A size as ``12.3 MiB``."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def human_time(seconds: float) -> str:
    """A span as ``3 s``, ``4 min``, ``5 h`` or ``6 d``."""
    for most, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit()


def _write(data: bytes) -> None:
    sys.stdout.flush()
    view = memoryview(data)
    while view:  # an unbuffered standard output may take only a part
        view = view[sys.stdout.buffer.write(view) :]
