"""Passwords and tokens as argon2id hashes. The package argon2-cffi is loaded when one is needed."""

from __future__ import annotations

import re
import secrets
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from posthouse.access.secret import Secret
from posthouse.errors import BadArgument, Unsupported

if TYPE_CHECKING:
    from argon2 import PasswordHasher

TOKEN: Final = re.compile(r"pht_([0-9a-f]{8})_[A-Za-z0-9_\-]{43}")
TOKEN_BYTES: Final = 32
MIN_PASSWORD_CHARACTERS: Final = 12

# A hash says how much work it takes: what a damaged or hostile file may ask for is bounded.
MOST_MEMORY_KIB: Final = 1024 * 1024
MOST_PASSES: Final = 20
MOST_LANES: Final = 64
_SHAPE: Final = re.compile(r"\$argon2id\$v=19\$m=(\d{1,9}),t=(\d{1,4}),p=(\d{1,3})\$[^$]+\$[^$]+")


class Hasher:
    """Makes hashes and checks secrets against them; each call takes about a tenth of a second.

    Its work is argon2-cffi's default (RFC 9106's second choice: 64 MiB, 3 passes); ``cheap`` is
    for tests.
    """

    def __init__(self, *, cheap: bool = False) -> None:
        self._cheap = cheap

    @cached_property
    def _argon2(self) -> PasswordHasher:
        argon2 = load()
        profile = argon2.profiles.CHEAPEST if self._cheap else argon2.profiles.RFC_9106_LOW_MEMORY
        hasher: PasswordHasher = argon2.PasswordHasher.from_parameters(profile)
        return hasher

    @cached_property
    def nobodys(self) -> str:
        """A hash that no secret anybody has fits, to work on where there is no user."""
        return self.hash(Secret(secrets.token_hex(TOKEN_BYTES)))

    def hash(self, secret: Secret) -> str:
        """The hash to keep, with its salt and parameters."""
        return self._argon2.hash(secret.reveal())

    def fits(self, kept: str, secret: Secret) -> bool:
        """Whether the secret is the one that the hash was made from; in constant time."""
        errors = load().exceptions
        try:
            return self._argon2.verify(kept, secret.reveal())
        except (errors.Argon2Error, errors.InvalidHashError):
            return False


def load() -> Any:
    """The package argon2.

    Raises:
        Unsupported: it is not installed; the text says how to get it.
    """
    try:
        import argon2
    except ImportError as error:
        raise Unsupported(
            "users need the package argon2-cffi: install 'posthouse[server]'"
        ) from error
    return argon2


def check_hash(kept: str) -> str:
    """Return ``kept`` if it is an argon2id hash of bounded work.

    Raises:
        BadArgument: it is not. The text does not show it.
    """
    shape = _SHAPE.fullmatch(kept)
    if shape is None:
        raise BadArgument("a hash is not in argon2id's form ($argon2id$v=19$m=...,t=...,p=...$...)")
    memory_kib, passes, lanes = map(int, shape.groups())
    if memory_kib > MOST_MEMORY_KIB or passes > MOST_PASSES or lanes > MOST_LANES:
        raise BadArgument(
            f"a hash asks for {memory_kib:,} KiB, {passes:,} passes, {lanes} lanes; at most "
            f"{MOST_MEMORY_KIB:,} KiB, {MOST_PASSES} passes and {MOST_LANES} lanes are done"
        )
    return kept


def fresh_token(credential: str) -> Secret:
    """A new token, 256 random bits, that names its credential."""
    return Secret(f"pht_{credential}_{secrets.token_urlsafe(TOKEN_BYTES)}")


def credential_of(token: str) -> str | None:
    """The credential that a token names; None: it is no token."""
    match = TOKEN.fullmatch(token)
    return None if match is None else match[1]


def check_password(secret: Secret) -> Secret:
    """Return a secret that may be a password.

    Raises:
        BadArgument: it is too short.
    """
    if len(secret.reveal()) < MIN_PASSWORD_CHARACTERS:
        raise BadArgument(f"a password has at least {MIN_PASSWORD_CHARACTERS} characters")
    return secret
