"""Bad weather between a client and its server: a TCP proxy that delays, dribbles and breaks.

    with ChaosProxy(server.url) as proxy:
        broker = await posthouse.open(proxy.url)
        proxy.reset()             # all connections, at once
        proxy.weather(delay_s=0.05)

It runs in a thread with a loop of its own; its methods may be called from anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

from posthouse.errors import BadArgument
from posthouse.server.address import parse_address
from posthouse.server.listener import stop_listening

_CHUNK: Final = 64 * 1024
_MOST_PIECES: Final = 500
"""Of what comes at once: a body of megabytes is to come through in seconds."""
_NO_LINGER: Final = struct.pack("ii", 1, 0)
_CALL_S: Final = 10.0


class ChaosProxy:
    """See the module.

    Args:
        target: the server's ``tcp://`` URL.
        seed: of what is random.

    Attributes:
        url: what clients open.
        connections: how many came in all.
        broken: how many were broken by the proxy.
    """

    def __init__(self, target: str, seed: int = 0) -> None:
        address = parse_address(target)
        if not address.host:
            raise BadArgument(f"the proxy goes before a tcp:// address, not {target!r}")
        self.url = ""
        self.connections = 0
        self.broken = 0
        self._target = (address.host, address.port)
        self._chance = random.Random(seed)
        self._delay_s = 0.0
        self._dribble = 0
        self._break_after_s = 0.0
        self._swallow = False
        self._refuse = False
        self._pairs: set[_Pair] = set()
        self._ends: set[_End] = set()
        self._gone = asyncio.Event()
        self._work: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True)
        self._listener: asyncio.Server | None = None

    # weather, from any thread

    def weather(
        self, *, delay_s: float = 0.0, dribble: int = 0, break_after_s: float = 0.0
    ) -> None:
        """From now on: each piece waits for up to ``delay_s``, no piece is longer than
        ``dribble`` bytes (or a five-hundredth of what came at once; 0: as they come), and each
        new connection is reset after a random time of up to ``break_after_s`` (0: never)."""
        self._delay_s, self._dribble, self._break_after_s = delay_s, dribble, break_after_s

    def swallow(self, on: bool = True) -> None:
        """A black hole: connections stay, and nothing comes through either way."""
        self._swallow = on

    def refuse(self, on: bool = True) -> None:
        """New connections are reset at once."""
        self._refuse = on

    def reset(self) -> None:
        """Reset all connections, both ways, whatever is under way."""
        self._call(self._reset_all)

    def _reset_all(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    def half_close(self) -> None:
        """Tell the clients that the server has ended, and go on passing what they say."""
        self._call(self._half_close_all)

    def _half_close_all(self) -> None:
        for pair in list(self._pairs):
            pair.half_close()

    def _call(self, work: Callable[[], Any]) -> None:
        done = threading.Event()

        def do() -> None:
            try:
                work()
            finally:
                done.set()

        self._loop.call_soon_threadsafe(do)
        done.wait(_CALL_S)

    # life

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_CALL_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_CALL_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()

    async def _open(self) -> None:
        self._listener = await self._loop.create_server(self._come, "127.0.0.1", 0)
        port = self._listener.sockets[0].getsockname()[1]
        self.url = f"tcp://127.0.0.1:{port}"

    async def _close(self) -> None:
        assert self._listener is not None
        await stop_listening(self._listener)
        self._reset_all()
        while self._work:
            await asyncio.wait(self._work)
        for end in list(self._ends):
            end.abort()
        if self._ends:  # a socket is closed a turn after it is aborted
            self._gone.clear()
            await self._gone.wait()

    def _come(self) -> asyncio.Protocol:
        self.connections += 1
        pair = _Pair(self)
        self._pairs.add(pair)
        return pair.near

    # what pairs ask

    @property
    def refuses(self) -> bool:
        """See `refuse`."""
        return self._refuse

    @property
    def swallows(self) -> bool:
        """See `swallow`."""
        return self._swallow

    @property
    def target(self) -> tuple[str, int]:
        """Where the server is."""
        return self._target

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The proxy's own."""
        return self._loop

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do it beside the rest, until its end or the proxy's."""
        task = self._loop.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task

    def opened(self, end: _End) -> None:
        """A socket is open."""
        self._ends.add(end)

    def closed(self, end: _End) -> None:
        """It is closed."""
        self._ends.discard(end)
        if not self._ends:
            self._gone.set()

    def life_s(self) -> float:
        """How long a new connection lasts; 0: as long as it likes."""
        return self._chance.uniform(0.0, self._break_after_s) if self._break_after_s else 0.0

    def pause_s(self) -> float:
        """How long the next piece waits."""
        return self._chance.uniform(0.0, self._delay_s) if self._delay_s else 0.0

    def pieces(self, data: bytes) -> list[bytes]:
        """The data as it is passed on."""
        size = max(self._dribble, len(data) // _MOST_PIECES) if self._dribble else _CHUNK
        return [data[at : at + size] for at in range(0, len(data), size)]

    def forget(self, pair: _Pair, *, broken: bool) -> None:
        """A pair is over."""
        self._pairs.discard(pair)
        self.broken += broken


class _End(asyncio.Protocol):
    """One socket of a pair: what comes in goes to the other, in order, as the weather is."""

    def __init__(self, pair: _Pair) -> None:
        self.pair = pair
        self.transport: asyncio.Transport | None = None
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.pair.proxy.opened(self)
        self.pair.made(self)

    def data_received(self, data: bytes) -> None:
        self.queue.put_nowait(data)

    def eof_received(self) -> bool:
        self.queue.put_nowait(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.pair.proxy.closed(self)
        self.pair.over()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class _Pair:
    """A client's socket and the one to the server."""

    def __init__(self, proxy: ChaosProxy) -> None:
        self.proxy = proxy
        self.near = _End(self)
        self.far = _End(self)
        self._tasks: list[asyncio.Task[None]] = []
        self._ended = False

    def made(self, end: _End) -> None:
        if self._ended:  # the weather was faster
            end.abort()
        elif end is self.near:
            self._tasks.append(self.proxy.spawn(self._connect()))

    async def _connect(self) -> None:
        if self.proxy.refuses:
            self.reset()
            return
        try:
            await self.proxy.loop.create_connection(lambda: self.far, *self.proxy.target)
        except OSError:
            self.reset()
            return
        life_s = self.proxy.life_s()
        if life_s:
            self.proxy.loop.call_later(life_s, self.reset)
        for one, other in ((self.near, self.far), (self.far, self.near)):
            self._tasks.append(self.proxy.spawn(self._pass(one, other)))

    async def _pass(self, one: _End, other: _End) -> None:
        while True:
            data = await one.queue.get()
            if data is None:
                if other.transport is not None:
                    with contextlib.suppress(OSError, RuntimeError):
                        other.transport.write_eof()
                return
            for piece in self.proxy.pieces(data):
                await asyncio.sleep(self.proxy.pause_s())
                if not self.proxy.swallows and other.transport is not None:
                    other.transport.write(piece)

    def half_close(self) -> None:
        if self.near.transport is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self.near.transport.write_eof()

    def reset(self) -> None:
        for end in (self.near, self.far):
            if end.transport is not None:
                found = end.transport.get_extra_info("socket")
                if found is not None:
                    with contextlib.suppress(OSError):
                        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                end.abort()
        self._end(broken=True)

    def over(self) -> None:
        for end in (self.near, self.far):
            if end.transport is not None:
                end.transport.close()
        self._end(broken=False)

    def _end(self, *, broken: bool) -> None:
        if self._ended:
            return
        self._ended = True
        for task in self._tasks:
            task.cancel()
        self.proxy.forget(self, broken=broken)
