"""Bodies that tell whether they are whole, and what a witness calls them."""

from __future__ import annotations

import zlib
from typing import Any

from posthouse import Message
from posthouse.core.letters import ORIGIN
from tests.lab.topics import copy_name


def body_of(key: str) -> str:
    """The body that goes by this key: the key, and a filler that only follows from the key."""
    check = zlib.crc32(key.encode())
    return f"{key}|" + f"{check:08x}" * (check % 23 if check % 11 else check % 1500)


def key_of(body: Any) -> str:
    """The key of a body; what is not whole has another key, which nobody ever put."""
    key = str(body).partition("|")[0]
    return key if body == body_of(key) else f"not whole: {str(body)[:60]!r}"


def told_key(message: Message[Any]) -> str:
    """What the witness calls a message: of what was published, one for each queue."""
    home = (message.headers or {}).get(ORIGIN, message.queue_name)
    return copy_name(key_of(message.body), home)
