"""What a dead letter tells: the headers that are laid over the message's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from posthouse.model import NANOSECONDS

ORIGIN: Final = "posthouse-origin"
REASON: Final = "posthouse-reason"
ERROR: Final = "posthouse-error"
ATTEMPTS: Final = "posthouse-attempts"
DIED_AT: Final = "posthouse-died-at"

MAX_TEXT_CHARACTERS: Final = 2000
DEATH_BYTES: Final = 1024


def origin_of(death: bytes) -> str:
    """The queue in which a dead letter died; "" if it is none."""
    headers: dict[str, str] = msgspec.msgpack.decode(death) if death else {}
    return headers.get(ORIGIN, "")


def death_headers(origin: str, reason: str, error: str | None, attempts: int, at_ns: int) -> bytes:
    """The msgpack map of why a message died. Texts are cut at 2,000 characters."""
    died_at = datetime.fromtimestamp(at_ns / NANOSECONDS, UTC).isoformat()
    headers = {
        ORIGIN: origin,
        REASON: _clean(reason),
        ATTEMPTS: str(attempts),
        DIED_AT: died_at,
    }
    if error:
        headers[ERROR] = _clean(error)
    return msgspec.msgpack.encode(headers)


def size_bound(reason: str, error: str | None) -> int:
    """At most so many bytes has the record of a death, its queue's declaration included."""
    return (
        DEATH_BYTES
        + 4 * min(len(reason), MAX_TEXT_CHARACTERS)
        + 4 * min(len(error or ""), MAX_TEXT_CHARACTERS)
    )


def _clean(text: str) -> str:
    # An exception's text may hold lone surrogates (undecodable file names do): no UTF-8.
    text = text[:MAX_TEXT_CHARACTERS].encode(errors="backslashreplace").decode()
    return text[:MAX_TEXT_CHARACTERS]
