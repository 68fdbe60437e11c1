"""Users for tests, with hashes that cost nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from posthouse.access.gate import Gate
from posthouse.access.hashing import Hasher, fresh_token
from posthouse.access.rights import RIGHTS, Grant
from posthouse.access.secret import Secret
from posthouse.access.users import Credential, User, Users

CHEAP = Hasher(cheap=True)
START_S = 1_800_000_000.0


def at(seconds: float) -> datetime:
    """A time so long after the start."""
    return datetime.fromtimestamp(START_S + seconds, UTC)


def password(
    number: str, secret: str, expires_s: float | None = None, created_s: float = 0.0
) -> Credential:
    """A password's credential."""
    ends = None if expires_s is None else at(expires_s)
    return Credential(number, "password", CHEAP.hash(Secret(secret)), at(created_s), ends)


def token(number: str, expires_s: float | None = None) -> tuple[Credential, Secret]:
    """A token's credential, and the token."""
    secret = fresh_token(number)
    ends = None if expires_s is None else at(expires_s)
    return Credential(number, "token", CHEAP.hash(secret), at(0), ends), secret


def user(name: str, *credentials: Credential, certificates: tuple[str, ...] = ()) -> User:
    """A user who may do all on what begins with his name."""
    return User(name, credentials, certificates, (Grant(f"{name}*", RIGHTS),))


@dataclass
class Clocks:
    """A wall clock and a monotonic one, each set by hand."""

    wall_s: float = START_S
    monotonic_s: float = 1_000.0

    def go(self, seconds: float) -> None:
        """Time passes."""
        self.wall_s += seconds
        self.monotonic_s += seconds


class CountingHasher(Hasher):
    """Counts how often it worked."""

    def __init__(self) -> None:
        super().__init__(cheap=True)
        self.checks = 0

    def fits(self, kept: str, secret: Secret) -> bool:
        """As `Hasher.fits`."""
        self.checks += 1
        return super().fits(kept, secret)


def gate_of(clocks: Clocks, *users: User, hasher: Hasher | None = None) -> Gate:
    """A gate for these users, on these clocks."""
    return Gate(
        Users(users=users),
        hasher=hasher or CHEAP,
        wall_s=lambda: clocks.wall_s,
        monotonic_s=lambda: clocks.monotonic_s,
    )
