"""Users as values: their credentials, certificates and rights, and the changes to them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias

import msgspec

from posthouse.access.hashing import check_hash
from posthouse.access.rights import Grant, Right, check_pattern, check_rights
from posthouse.errors import BadArgument

FORMAT: Final = "posthouse-users-1"
MAX_USERS: Final = 10_000
MAX_CREDENTIALS: Final = 2
MAX_CERTIFICATES: Final = 16
MAX_GRANTS: Final = 256
MAX_USER_BYTES: Final = 100
CERTIFICATE_KINDS: Final = ("DNS", "URI", "email", "IP", "CN")

_USER: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\-]*", re.ASCII)
_CREDENTIAL: Final = re.compile(r"[0-9a-f]{8}")

Kind: TypeAlias = Literal["password", "token"]


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One secret of a user, as its hash.

    Attributes:
        id: eight hexadecimal digits; a token has them in it.
        kind: "password", or "token" for one that was generated.
        hash: argon2id's text, with salt and parameters.
        created_at: when it was made.
        expires_at: it is refused from then on; None: never.
    """

    id: str
    kind: Kind
    hash: str
    created_at: datetime
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        return f"<Credential {self.id}, {self.kind}>"


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may come in, and what for.

    Attributes:
        name: letters, digits, ``_``, ``-``, ``.``, ``@``; at most 100.
        credentials: at most two, so that one can follow the other without a gap.
        certificates: names in client certificates that are this user's, as ``DNS:worker-1``,
            ``URI:spiffe://...``, ``email:...``, ``IP:...``, ``CN:...``.
        grants: the rights; none at first.
    """

    name: str
    credentials: tuple[Credential, ...] = ()
    certificates: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()

    def credential(self, number: str) -> Credential | None:
        """The credential of that id."""
        return next((each for each in self.credentials if each.id == number), None)


class Users(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All users, as the file keeps them."""

    format: str = FORMAT
    users: tuple[User, ...] = ()

    def find(self, name: str) -> User | None:
        """The user of that name."""
        return next((user for user in self.users if user.name == name), None)

    def get(self, name: str) -> User:
        """The user of that name.

        Raises:
            BadArgument: there is none.
        """
        user = self.find(name)
        if user is None:
            raise BadArgument(f"there is no user {ascii(name)}")
        return user

    def with_user(self, user: User) -> Users:
        """These users and a new one.

        Raises:
            BadArgument: the name is taken.
        """
        if self.find(user.name) is not None:
            raise BadArgument(
                f"there is a user {user.name!r} already; 'rotate' gives a new secret, "
                "'allow' rights"
            )
        return check_users(msgspec.structs.replace(self, users=(*self.users, user)))

    def without(self, name: str) -> Users:
        """These users but one. Raises BadArgument: there is no such user."""
        gone = self.get(name)
        return msgspec.structs.replace(
            self, users=tuple(user for user in self.users if user is not gone)
        )

    def changed(self, name: str, change: Callable[[User], User]) -> Users:
        """These users, one of them changed.

        Raises:
            BadArgument: there is no such user, or the change makes one that cannot be.
        """
        old = self.get(name)
        new = change(old)
        return check_users(
            msgspec.structs.replace(
                self, users=tuple(new if user is old else user for user in self.users)
            )
        )


def rotated(user: User, new: Credential, old_expires_at: datetime, now: datetime) -> User:
    """The user with a new credential, beside which the newest older one lives on for a while.

    That is until ``old_expires_at``; one that would end earlier still does.
    """
    old = sorted((c for c in user.credentials if _lives(c, now)), key=lambda c: c.created_at)[-1:]
    kept = [
        msgspec.structs.replace(
            each,
            expires_at=old_expires_at
            if each.expires_at is None
            else min(each.expires_at, old_expires_at),
        )
        for each in old
        if old_expires_at > now
    ]
    return msgspec.structs.replace(user, credentials=(*kept, new))


def _lives(credential: Credential, now: datetime) -> bool:
    return credential.expires_at is None or credential.expires_at > now


def allowed(user: User, pattern: str, rights: Iterable[str]) -> User:
    """The user with these rights on these names added.

    Raises:
        BadArgument: a pattern or right that is none.
    """
    check_pattern(pattern)
    more = set(check_rights(rights))
    has = {right for grant in user.grants if grant.queues == pattern for right in grant.rights}
    return _granted(user, pattern, has | more)


def denied(user: User, pattern: str, rights: Iterable[str] | None) -> User:
    """The user without these rights (None: any) of the grant with exactly this pattern.

    Raises:
        BadArgument: there is no such grant: rights that come from another pattern stay.
    """
    has = {right for grant in user.grants if grant.queues == pattern for right in grant.rights}
    gone = has if rights is None else set(check_rights(rights))
    if not has & gone:
        patterns = ", ".join(grant.queues for grant in user.grants) or "none"
        raise BadArgument(
            f"user {user.name!r} has no such rights by the pattern {ascii(pattern)}; "
            f"patterns: {patterns}"
        )
    return _granted(user, pattern, has - gone)


def _granted(user: User, pattern: str, rights: set[Right]) -> User:
    others = [grant for grant in user.grants if grant.queues != pattern]
    if rights:
        others.append(Grant(pattern, check_rights(rights)))
    return msgspec.structs.replace(
        user, grants=tuple(sorted(others, key=lambda grant: grant.queues))
    )


def new_credential_id(users: Users) -> str:
    """An id that no credential has."""
    taken = {each.id for user in users.users for each in user.credentials}
    while True:
        number = secrets.token_hex(4)
        if number not in taken:
            return number


def check_user_name(name: str) -> str:
    """Return ``name`` if it may name a user.

    Raises:
        BadArgument: it may not.
    """
    if len(name) > MAX_USER_BYTES or _USER.fullmatch(name) is None:
        shown = ascii(name[:40])
        raise BadArgument(
            f"{shown} cannot name a user: use letters, digits, '_', '-', '.' and '@', not "
            f"starting with '-', '.' or '@', at most {MAX_USER_BYTES}"
        )
    return name


def check_certificate(name: str) -> str:
    """Return ``name`` if it is one that a certificate may have, as ``DNS:worker-1``.

    Raises:
        BadArgument: it is not.
    """
    kind, colon, value = name.partition(":")
    if not colon or kind not in CERTIFICATE_KINDS or not value or not value.isprintable():
        kinds = ", ".join(f"{each}:..." for each in CERTIFICATE_KINDS)
        raise BadArgument(f"{ascii(name[:80])} is no name of a certificate; there are: {kinds}")
    if len(value) > 255:
        raise BadArgument(f"a certificate's name has at most 255 characters, not {len(value)}")
    if "*" in value:
        raise BadArgument(f"{ascii(name[:80])}: a certificate's name is compared whole, without *")
    return name


def check_users(users: Users) -> Users:
    """Return ``users`` if everything in them can be.

    Raises:
        BadArgument: something cannot; the text names the user and shows no hash.
    """
    if users.format != FORMAT:
        raise BadArgument(f"the format is {ascii(users.format)[:40]}, not {FORMAT!r}")
    if len(users.users) > MAX_USERS:
        raise BadArgument(f"{len(users.users):,} users are more than {MAX_USERS:,}")
    owners: dict[str, str] = {}
    for user in users.users:
        try:
            _check_user(user)
            marks = [
                f"the name {user.name}",
                *(f"credential {each.id}" for each in user.credentials),
                *(f"certificate {each}" for each in user.certificates),
            ]
            for mark in marks:
                if mark in owners:
                    raise BadArgument(
                        f"{ascii(mark)} is there twice, also with user {owners[mark]!r}"
                    )
                owners[mark] = user.name
        except BadArgument as error:
            raise BadArgument(f"user {ascii(user.name)[:60]}: {error}") from None
    return users


def _check_user(user: User) -> None:
    check_user_name(user.name)
    for what, many, most in (
        ("credentials", user.credentials, MAX_CREDENTIALS),
        ("certificates", user.certificates, MAX_CERTIFICATES),
        ("grants", user.grants, MAX_GRANTS),
    ):
        if len(many) > most:
            raise BadArgument(f"{len(many)} {what} are more than {most}")
    for credential in user.credentials:
        if _CREDENTIAL.fullmatch(credential.id) is None:
            raise BadArgument("a credential's id is not eight hexadecimal digits")
        check_hash(credential.hash)
        for at in (credential.created_at, credential.expires_at):
            if at is not None and at.tzinfo is None:
                raise BadArgument(f"credential {credential.id} has a time without its zone")
    for certificate in user.certificates:
        check_certificate(certificate)
    for grant in user.grants:
        check_pattern(grant.queues)
        check_rights(grant.rights)
