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


def death_headers(origin: str, reason: str, error: str | None, attempts: int, at_ns: int) -> bytes:
    """The msgpack map of why a message died. Texts are cut at 2,000 characters."""
    died_at = datetime.fromtimestamp(at_ns / NANOSECONDS, UTC).isoformat()
    headers = {
        ORIGIN: origin,
        REASON: reason[:MAX_TEXT_CHARACTERS],
        ATTEMPTS: str(attempts),
        DIED_AT: died_at,
    }
    if error:
        headers[ERROR] = error[:MAX_TEXT_CHARACTERS]
    return msgspec.msgpack.encode(headers)
