"""Rights on names: what a user may do with which queues and topics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, Literal, TypeAlias

import msgspec

from posthouse.errors import AccessDenied, BadArgument, InvalidName
from posthouse.model import check_queue_name

Right: TypeAlias = Literal["put", "get", "browse", "manage"]
RIGHTS: Final[tuple[Right, ...]] = ("put", "get", "browse", "manage")
NO_RIGHTS: Final[frozenset[Right]] = frozenset()
EVERYTHING: Final = "*"

_REMEMBERED_NAMES: Final = 1024
_MOST_LOGGED: Final = 100

logger = logging.getLogger("posthouse.access")


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some rights on some names.

    Attributes:
        queues: a queue's or topic's name; or the beginning of names, and ``*``.
        rights: some of "put", "get", "browse", "manage".
    """

    queues: str
    rights: tuple[Right, ...]

    def covers(self, name: str) -> bool:
        """Whether it is about the queue or topic of that name."""
        if self.queues.endswith(EVERYTHING):
            return name.startswith(self.queues[:-1])
        return name == self.queues


def check_pattern(pattern: str) -> str:
    """Return ``pattern`` if it is a name, or the beginning of names and ``*``.

    Raises:
        BadArgument: it is not; the text says why.
    """
    beginning = pattern.removesuffix(EVERYTHING)
    if pattern == EVERYTHING:
        return pattern
    try:
        check_queue_name(beginning)
    except InvalidName as error:
        raise BadArgument(
            f"{ascii(pattern)} is no pattern for queues: give a name ('orders'), the beginning of "
            "names and one star ('orders.*'), or a star alone for all"
        ) from error
    return pattern


def check_rights(rights: Iterable[str]) -> tuple[Right, ...]:
    """The rights, each once, in their order.

    Raises:
        BadArgument: one is none, or there is none.
    """
    given = set(rights)
    unknown = sorted(given - set(RIGHTS))
    if unknown or not given:
        what = f"{ascii(unknown[0])} is no right" if unknown else "no right was given"
        raise BadArgument(f"{what}; there are: {', '.join(RIGHTS)}")
    return tuple(right for right in RIGHTS if right in given)


class Rights:
    """What one login may do, from now until it ends; a session asks before every verb.

    It is live: `replace` and `end` change it under the sessions that hold it.

    Attributes:
        user: whose they are.
    """

    __slots__ = ("__weakref__", "_ended", "_grants", "_known", "_logged", "_on_end", "user")

    def __init__(self, user: str, grants: Iterable[Grant]) -> None:
        self.user = user
        self._grants = tuple(grants)
        self._known: dict[str, frozenset[Right]] = {}
        self._ended = ""
        self._on_end: list[Callable[[str], None]] = []
        self._logged: set[tuple[str, str]] = set()

    def on(self, name: str) -> frozenset[Right]:
        """The rights on the queue or topic of that name."""
        known = self._known.get(name)
        if known is None:
            known = frozenset(
                right for grant in self._grants if grant.covers(name) for right in grant.rights
            )
            if len(self._known) >= _REMEMBERED_NAMES:
                self._known.clear()
            self._known[name] = known
        return known

    def check(self, right: Right, name: str) -> None:
        """Raise unless there is this right on the queue or topic of that name.

        Raises:
            AccessDenied: there is not, or the login has ended.
        """
        if right not in self.on(name):
            self._refuse(right, name)

    def check_any(self, name: str) -> None:
        """Raise unless there is any right on that name: enough to see that it exists.

        Raises:
            AccessDenied: there is none, or the login has ended.
        """
        if not self.on(name):
            self._refuse("browse", name)

    def _refuse(self, right: Right, name: str) -> None:
        if (right, name) not in self._logged and len(self._logged) < _MOST_LOGGED:
            # Each kind of refusal once for a login: who asks again and again fills no disk.
            self._logged.add((right, name))
            logger.warning("user %r was denied %s on %s", self.user, right, ascii(name))
        if self._ended:
            text = f"the login of user {self.user!r} has ended: {self._ended}; log in again"
        else:
            has = ", ".join(each for each in RIGHTS if each in self.on(name)) or "none there"
            text = (
                f"user {self.user!r} has no right to {right} on {ascii(name)} (has: {has}); "
                f"who runs the server grants it: posthouse user allow {self.user} "
                f"{ascii(name)[1:-1]} {right}"
            )
        raise AccessDenied(text, self.user, right, name)

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What they are made of; empty when the login has ended."""
        return self._grants

    @property
    def ended(self) -> str:
        """Why the login has ended; "" while it has not."""
        return self._ended

    def replace(self, grants: Iterable[Grant]) -> None:
        """From now on these; a login that has ended stays so."""
        if not self._ended:
            self._grants = tuple(grants)
            self._known.clear()
            self._logged.clear()

    def end(self, why: str) -> None:
        """From now on none. Tells those who asked to hear of it; ending again does nothing."""
        if self._ended:
            return
        self.replace(())
        self._ended = why
        waiting, self._on_end = self._on_end, []
        for callback in waiting:
            callback(why)

    def on_end(self, callback: Callable[[str], None]) -> None:
        """Call back with the reason when the login ends; at once if it has."""
        if self._ended:
            callback(self._ended)
        else:
            self._on_end.append(callback)

    def __repr__(self) -> str:
        return (
            f"<Rights of {self.user!r}: {len(self._grants)} grants{', ended' * bool(self._ended)}>"
        )
