"""A server for tests, beside the test: on a free port (or a socket), durable or not.

    def test_shipping():
        with posthouse.testing.serve() as server:
            ...posthouse.open(server.url)...

It runs in a thread with a loop of its own, so it works in plain and in async tests alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from posthouse.backends import registry
from posthouse.backends.hosted import Hosted
from posthouse.errors import BadArgument
from posthouse.server import Limits, Server

T = TypeVar("T")
START_S: Final = 30.0


class ServedBroker:
    """A running server. See `serve`.

    Attributes:
        url: what clients open.
    """

    def __init__(self, backend_url: str, listen: str, limits: Limits, options: Any) -> None:
        self._backend_url = backend_url
        self._listen = listen
        self._limits = limits
        self._options = options
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: Server | None = None
        self.url = ""

    @property
    def server(self) -> Server:
        """The server itself, to look at from its own loop (see `run`)."""
        assert self._server is not None
        return self._server

    def start(self) -> None:
        """Start it; after a stop, at the same place again."""
        if self._thread is not None:
            raise BadArgument("the server runs already")
        loop = asyncio.new_event_loop()
        self._loop = loop
        thread = threading.Thread(target=self._run, args=(loop,), name="posthouse-serve")
        thread.daemon = True
        thread.start()
        self._thread = thread
        try:
            self.url = self.run(self._open())
        except BaseException:
            self._end()
            raise
        self._listen = self.url

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    async def _open(self) -> str:
        backend = registry.connect(self._backend_url, (), self._options)
        if not isinstance(backend, Hosted):
            raise BadArgument(f"a server needs a directory or memory:, not {self._backend_url!r}")
        await backend.start()
        server = Server(backend, self._limits)
        try:
            await server.listen([self._listen])
        except BaseException:
            await server.close()
            raise
        self._server = server
        return str(server.addresses[0])

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's loop, and wait for it."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_S)

    def call(self, work: Callable[[], T]) -> T:
        """Call something on the server's loop, and wait for it."""

        async def do() -> T:
            return work()

        return self.run(do())

    def stop(self) -> None:
        """Shut it down as SIGTERM would; what is durable stays for the next start."""
        server, self._server = self._server, None
        try:
            if server is not None:
                self.run(server.close())
        finally:
            self._end()

    def restart(self) -> None:
        """Stop it, and start it at the same address over the same data."""
        self.stop()
        self.start()

    def _end(self) -> None:
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(START_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


@contextlib.contextmanager
def serve(
    directory: str | Path | None = None,
    *,
    durable: bool = False,
    listen: str = "tcp://127.0.0.1:0",
    limits: Limits | None = None,
    **options: Any,
) -> Iterator[ServedBroker]:
    """A server for the length of a ``with`` block: yields a `ServedBroker`, open its ``url``.

    Args:
        directory: keep the messages there (and so durably); it may be used again.
        durable: keep them in a temporary directory; else in memory.
        listen: where; port 0 takes a free one. ``unix:PATH`` works too.
        limits: see `posthouse.server.Limits`.
        options: those of the backend, as for `posthouse.open`.
    """
    with contextlib.ExitStack() as stack:
        if directory is None and durable:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="posthouse-"))
        url = "memory:" if directory is None else f"log:{directory}"
        served = ServedBroker(url, listen, limits or Limits(), options)
        yield stack.enter_context(served)
