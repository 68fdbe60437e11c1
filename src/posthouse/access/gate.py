"""The gate: who comes in, as whom, and when a login ends."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, NamedTuple

from posthouse.access.certificates import certificate_ends_s, certificate_names
from posthouse.access.failures import Failures
from posthouse.access.hashing import Hasher, credential_of
from posthouse.access.remembered import Remembered
from posthouse.access.rights import Rights
from posthouse.access.secret import Secret
from posthouse.access.users import MAX_CREDENTIALS, Credential, Users
from posthouse.errors import AuthenticationFailed

MECHANISMS: Final = ("password", "token", "certificate")
REFUSED: Final = (
    "the login was refused: the user, or the password, token or certificate that should prove it, "
    "is not known here, or has expired"
)
THREADS: Final = 2
MOST_IN_LINE: Final = 10_000
LOOK_AGAIN_S: Final = 15.0
"""Clocks may be set: so often, at most, it is looked whether a login has expired."""

logger = logging.getLogger("posthouse.access")


class _Origin(NamedTuple):
    """What a login rests on: when that goes, so does the login."""

    user: str
    credential: str  # its id, or "" where it was a certificate
    certificate: frozenset[str]
    ends_s: float  # seconds since the epoch; 0: never


class _Refusal(Exception):
    """Why, for the log; the peer hears less."""


class Gate:
    """Lets users in, on the running loop. All their logins are followed until they end.

    Logins change with `replace`: at the next verb a user has the new rights; who is gone, or whose
    credential is gone, has none.
    """

    def __init__(
        self,
        users: Users,
        *,
        hasher: Hasher | None = None,
        wall_s: Callable[[], float] = time.time,
        monotonic_s: Callable[[], float] = time.monotonic,
        most_in_line: int = MOST_IN_LINE,
    ) -> None:
        self._users = {user.name: user for user in users.users}
        self._hasher = hasher or Hasher()
        self._wall_s = wall_s
        self._monotonic_s = monotonic_s
        self._ahead_s = wall_s() - monotonic_s()
        self._failures = Failures(monotonic_s)
        self._remembered = Remembered(monotonic_s)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="posthouse-access")
        self._hands = asyncio.Semaphore(THREADS)
        self._in_line = 0
        self._most_in_line = most_in_line
        self._logins: weakref.WeakKeyDictionary[Rights, _Origin] = weakref.WeakKeyDictionary()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def now_s(self) -> float:
        """Seconds since the epoch, for expiry: the later of the wall clock and this process's own.

        So a clock that is set back revives nothing, and one that is set forward refuses.
        """
        return max(self._wall_s(), self._monotonic_s() + self._ahead_s)

    async def admit(
        self,
        mechanism: str,
        user: str,
        secret: Secret | None,
        *,
        peer: str,
        certificate: Mapping[str, Any] | None = None,
    ) -> Rights:
        """The rights of a login; they live as long as somebody holds them.

        May be cancelled at any time.

        Args:
            mechanism: "password", "token" or "certificate".
            user: the user's name; with a certificate it may be "".
            secret: the password or token.
            peer: the address it comes from, for the log and against guessing.
            certificate: the peer's, verified, as `ssl.SSLSocket.getpeercert` returns it.

        Raises:
            AuthenticationFailed: no. Why stands in the log ("posthouse.access") only.
        """
        try:
            if self._closed:
                raise _Refusal("the gate is closed")
            if mechanism == "certificate":
                origin = self._by_certificate(user, certificate)
            elif mechanism in MECHANISMS and secret is not None and user:
                origin = await self._by_secret(mechanism, user, secret, peer)
            else:
                raise _Refusal("it says nothing that could be checked")
        except _Refusal as refusal:
            logger.warning("refused %s from %s: %s", self._shown(user), ascii(peer), refusal)
            raise AuthenticationFailed(REFUSED) from None
        rights = Rights(origin.user, self._users[origin.user].grants)
        self._logins[rights] = origin
        if origin.ends_s:
            self._look_later()
        logger.info("user %r came in from %s by %s", origin.user, ascii(peer), mechanism)
        return rights

    def _shown(self, user: str) -> str:
        # What is typed for a name is often a password: only names that are known are shown.
        return f"user {user!r}" if user in self._users else "an unknown user"

    # certificates

    def _by_certificate(self, user: str, certificate: Mapping[str, Any] | None) -> _Origin:
        names = certificate_names(certificate or {})
        if not names:
            raise _Refusal("it showed no certificate that was verified")
        owners = [each for each in self._users.values() if names & set(each.certificates)]
        if len(owners) != 1:
            raise _Refusal(f"its certificate belongs to {len(owners) or 'no'} users")
        owner = owners[0]
        if user not in ("", owner.name):
            raise _Refusal(f"its certificate is user {owner.name!r}'s")
        ends_s = certificate_ends_s(certificate or {})
        if ends_s and ends_s <= self.now_s():
            raise _Refusal("its certificate has expired")
        return _Origin(owner.name, "", names, ends_s)

    # secrets

    async def _by_secret(self, mechanism: str, user: str, secret: Secret, peer: str) -> _Origin:
        mark = self._remembered.mark(user, secret) if mechanism == "token" else b""
        credential = self._credential(user, mechanism, self._remembered.find(mark))
        if credential is None:
            credential = await self._check(mechanism, user, secret, peer, mark)
        return self._origin(user, credential)

    async def _check(
        self, mechanism: str, user: str, secret: Secret, peer: str, mark: bytes
    ) -> Credential:
        """The credential that the secret is, found out in a thread, a few at a time, in line."""
        if self._in_line >= self._most_in_line:
            raise AuthenticationFailed("too many logins at once; try again", retry_after_s=1.0)
        self._in_line += 1
        try:
            async with self._hands:
                # Of many who come with one token, the first is checked.
                fitting = self._remembered.find(mark)
                if fitting is None:
                    self._check_failures(user, peer)
                    fitting = await self._work(mechanism, user, secret, peer)
        finally:
            self._in_line -= 1
        credential = self._credential(user, mechanism, fitting)
        if credential is None:
            self._failures.count(user, peer)
            raise _Refusal(
                f"the {mechanism} is wrong" if user in self._users else "there is no such user"
            )
        if mark:
            self._remembered.keep(mark, credential.hash)
        return credential

    def _check_failures(self, user: str, peer: str) -> None:
        # Here, with one of few hands: so many who come at once do not slip through uncounted.
        wait_s = self._failures.wait_s(user, peer)
        if wait_s > 0:
            logger.warning("refused %s from %s: too many failures", self._shown(user), ascii(peer))
            raise AuthenticationFailed(
                f"too many failed logins; try again in {wait_s:.0f} s", retry_after_s=wait_s
            )

    async def _work(self, mechanism: str, user: str, secret: Secret, peer: str) -> str:
        """The hash that the secret fits; "" if none. As much work for whoever asks."""
        found = self._users.get(user)
        owned = () if found is None else found.credentials
        hashes = [each.hash for each in owned if each.kind == mechanism]
        most = MAX_CREDENTIALS
        if mechanism == "token":
            number = credential_of(secret.reveal())
            hashes = [each.hash for each in owned if each.kind == "token" and each.id == number]
            most = 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _fitting, self._hasher, hashes, most, secret
            )
        except asyncio.CancelledError:
            # The work is done all the same: hanging up is not a way to have it for nothing.
            self._failures.count(user, peer)
            raise

    def _credential(self, user: str, mechanism: str, kept: str | None) -> Credential | None:
        # Looked up anew each time: the users file may be another one by now.
        found = self._users.get(user)
        if found is None or not kept:
            return None
        return next((c for c in found.credentials if c.hash == kept and c.kind == mechanism), None)

    def _origin(self, user: str, credential: Credential) -> _Origin:
        ends_s = _seconds(credential.expires_at)
        if ends_s and ends_s <= self.now_s():
            raise _Refusal(f"its {credential.kind} {credential.id} has expired")
        return _Origin(user, credential.id, frozenset(), ends_s)

    # changes

    def replace(self, users: Users) -> None:
        """From now on these users, also for those who are in."""
        self._users = {user.name: user for user in users.users}
        for rights, origin in list(self._logins.items()):
            user = self._users.get(origin.user)
            if user is None:
                self._end(rights, "the user was removed")
                continue
            ends_s = origin.ends_s
            if origin.credential:
                credential = user.credential(origin.credential)
                if credential is None:
                    self._end(rights, "the credential was removed")
                    continue
                ends_s = _seconds(credential.expires_at)
            elif not origin.certificate & set(user.certificates):
                self._end(rights, "the certificate was removed from the user")
                continue
            self._logins[rights] = _Origin(
                origin.user, origin.credential, origin.certificate, ends_s
            )
            rights.replace(user.grants)
        self._look()

    def _end(self, rights: Rights, why: str) -> None:
        del self._logins[rights]
        logger.warning("the login of user %r has ended: %s", rights.user, why)
        rights.end(why)

    def _look(self) -> None:
        now_s = self.now_s()
        for rights, origin in list(self._logins.items()):
            if origin.ends_s and origin.ends_s <= now_s:
                self._end(rights, "what it was made with has expired")
        self._look_later()

    def _look_later(self) -> None:
        ends_s = min((o.ends_s for o in self._logins.values() if o.ends_s), default=0.0)
        self._cancel_timer()
        if ends_s and not self._closed:
            delay_s = min(max(ends_s - self.now_s(), 0.0), LOOK_AGAIN_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._look)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Let nobody in any more. Logins stay as they are, but no longer change."""
        self._closed = True
        self._cancel_timer()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _fitting(hasher: Hasher, hashes: list[str], most: int, secret: Secret) -> str:
    """The hash that fits, in a thread: always ``most`` checks, whatever there is to check."""
    fitting = ""
    for kept in [*hashes, *[hasher.nobodys] * most][:most]:
        if hasher.fits(kept, secret):
            fitting = kept
    return fitting


def _seconds(at: datetime | None) -> float:
    return 0.0 if at is None else at.timestamp()
