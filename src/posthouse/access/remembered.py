"""Tokens that were verified a short while ago, so that a reconnect costs no argon2."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from posthouse.access.secret import Secret

LIFETIME_S: Final = 300.0
MOST_KEPT: Final = 20_000


class Remembered:
    """Marks of verified tokens, each for 5 minutes from when it was verified.

    A mark is a digest with a key that is drawn at the start and never leaves the process; the
    token itself is not kept. Looking a mark up takes no constant time, and need not: who does not
    know the key cannot say which mark a guess has.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        lifetime_s: float = LIFETIME_S,
        most_kept: int = MOST_KEPT,
    ) -> None:
        self._now_s = now_s
        self._lifetime_s = lifetime_s
        self._most_kept = most_kept
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, tuple[float, str]] = OrderedDict()

    def mark(self, user: str, secret: Secret) -> bytes:
        """The mark of a user's token."""
        said = f"{user}\0{secret.reveal()}".encode()
        return hashlib.blake2b(said, key=self._key, digest_size=32).digest()

    def find(self, mark: bytes) -> str | None:
        """The hash that the token fitted; None: it is not remembered (any more)."""
        kept = self._kept.get(mark)
        if kept is None:
            return None
        until_s, fitting = kept
        if until_s <= self._now_s():
            del self._kept[mark]
            return None
        return fitting

    def keep(self, mark: bytes, fitting: str) -> None:
        """Remember that the token fitted this hash."""
        self._kept.pop(mark, None)
        self._kept[mark] = (self._now_s() + self._lifetime_s, fitting)
        while len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)
