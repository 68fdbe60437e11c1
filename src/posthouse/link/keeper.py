"""Keeps leases while the program holds its event loop up: a thread with a connection of its own.

It looks at the loop a few times in the shortest lease. As long as the loop turns it does nothing:
then the leases are the program's own affair. When the loop stands still, the leases that the
program has are extended to their full length, again and again, until the loop turns, or for
``keep_leases_s``. A lease shorter than half a second may be over before that. What was pushed to
the program and not seen by it goes to others meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from posthouse.access.client import Access
from posthouse.errors import PosthouseError
from posthouse.link.held import Holdings
from posthouse.link.line import hello
from posthouse.link.options import LinkOptions, Place
from posthouse.model import NANOSECONDS
from posthouse.wire.answers import Answer, Refused, Welcome
from posthouse.wire.connection import ClientSide, encode
from posthouse.wire.format import FRAME_BYTES
from posthouse.wire.requests import Renew, Unsubscribe

logger = logging.getLogger("posthouse.link")

LOOKS: Final = 5
LEAST_LOOK_S: Final = 0.1
MOST_LOOK_S: Final = 5.0
UNSEEN_LOOK_S: Final = 0.5
"""How often it looks where messages may lie that the program has not seen: others wait for them."""
IO_S: Final = 5.0


class LetGo(Protocol):
    """A subscription, as far as this needs it."""

    def let_go(self) -> Unsubscribe | None: ...


class Kept(Protocol):
    """What this needs of a link."""

    place: Place
    access: Access
    options: LinkOptions
    holdings: Holdings
    welcome: Welcome | None
    loop: asyncio.AbstractEventLoop

    @property
    def feeds(self) -> Mapping[int, LetGo]: ...


class Keeper:
    """See the module. Its thread begins with the first lease or subscription.

    Attributes:
        kept: how often it has extended leases.
    """

    def __init__(self, link: Kept) -> None:
        self.kept = 0
        self._link = link
        self._thread: threading.Thread | None = None
        self._stirred = threading.Event()
        self._stopped = threading.Event()
        self._asked = 0
        self._turned = 0

    def stir(self) -> None:
        """A lease came, and there was none before; or a subscription began."""
        if self._link.options.keep_leases_s <= 0 or self._stopped.is_set():
            return
        self._stirred.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="posthouse-keeper", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Keep nothing any more."""
        self._stopped.set()
        self._stirred.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._stirred.wait()
            held = self._link.holdings.snapshot()
            if not held and not self._link.feeds:
                self._stirred.clear()
                if self._link.feeds:
                    self._stirred.set()
                if self._link.holdings.by_token:
                    # Run out, or just come: let the loop forget the first, and look again soon.
                    self._stirred.set()
                    if not self._asks_loop(self._link.holdings.prune):
                        return
                    self._stopped.wait(LEAST_LOOK_S)
                continue
            patience_s = MOST_LOOK_S
            if held:
                shortest_s = min(lease_ns for _, _, lease_ns in held) / NANOSECONDS
                patience_s = min(max(shortest_s / LOOKS, LEAST_LOOK_S), MOST_LOOK_S)
            look_s = min(patience_s, UNSEEN_LOOK_S) if self._link.feeds else patience_s
            self._asked += 1
            if not self._asks_loop(partial(self._turn, self._asked)):
                return
            self._stopped.wait(look_s)
            if self._turned < self._asked and not self._stopped.is_set():
                self._keep(look_s, patience_s - look_s)

    def _asks_loop(self, work: Callable[[], None]) -> bool:
        try:
            self._link.loop.call_soon_threadsafe(work)
        except RuntimeError:
            return False  # the loop is closed
        return True

    def _turn(self, asked: int) -> None:
        self._turned = asked

    def _keep(self, look_s: float, patience_s: float) -> None:
        """The loop stands still: let go of what it has not seen, extend the rest, until it turns.

        That it stands still is no news before ``patience_s``.
        """
        began_s = time.monotonic()
        told = False
        try:
            with contextlib.closing(Renewals(self._link)) as renewals:
                for feed in list(self._link.feeds.values()):
                    said = feed.let_go()
                    if said is not None:
                        renewals.say(said)
                while self._turned < self._asked and not self._stopped.is_set():
                    if time.monotonic() - began_s > self._link.options.keep_leases_s:
                        logger.error("the event loop stood still for too long: its leases run out")
                        return
                    if not told and time.monotonic() - began_s >= patience_s:
                        told = True
                        logger.warning("the event loop does not turn; keeping its leases")
                    renewals.renew(self._link.holdings.snapshot())
                    self.kept += 1
                    self._stopped.wait(look_s)
        except (OSError, PosthouseError) as error:
            logger.warning("leases could not be kept: %s", error)


class Renewals:
    """A blocking connection that renews leases."""

    def __init__(self, link: Kept) -> None:
        self._link = link
        self._side = ClientSide()
        self._number = 0
        place, welcome = link.place, link.welcome
        assert welcome is not None
        if place.path:
            self._socket = socket.socket(socket.AF_UNIX)
        else:
            self._socket = socket.create_connection((place.host, place.port), IO_S)
        try:
            self._socket.settimeout(IO_S)
            if place.path:
                self._socket.connect(place.path)
            elif link.access.context is not None:
                self._socket = link.access.context.wrap_socket(
                    self._socket, server_hostname=link.access.name_at(place.host)
                )
            options = link.options
            first = hello(
                welcome.session,
                0,
                "keeper",
                options.name,
                options.heartbeat_s,
                FRAME_BYTES,
                link.access.login(),
            )
            self._socket.sendall(encode(first))
            answer = self._hear()
            if isinstance(answer, Refused):
                raise ConnectionError(answer.text)
        except BaseException:
            self._socket.close()
            raise

    def say(self, message: Unsubscribe) -> None:
        """Say something that has no answer."""
        self._socket.sendall(encode(message))

    def renew(self, held: list[tuple[str, int, int]]) -> None:
        """Let leases begin anew."""
        if not held:
            return
        self._number += 1
        self._socket.sendall(encode(Renew(self._number, held)))
        answer = self._hear()
        if isinstance(answer, Answer):
            gone = set(answer.value or ())
            for _, token, lease_ns in held:
                if token not in gone:
                    self._link.holdings.extended(token, lease_ns)

    def _hear(self) -> Any:
        while True:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError("the server closed the connection")
            for message in self._side.receive(data):
                return message

    def close(self) -> None:
        """Let the connection go."""
        self._socket.close()
