"""A server as a process: opens the backend, listens, waits for a signal, drains."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from posthouse.backends import registry
from posthouse.backends.hosted import Hosted
from posthouse.errors import BadArgument
from posthouse.server.admission import AccessFiles, Admission
from posthouse.server.limits import Limits
from posthouse.server.notify import notify
from posthouse.server.server import Server

logger = logging.getLogger("posthouse.server")

STOPPED: Final = 0
FAILED: Final = 1
NO_FILES: Final = AccessFiles()
_ENDS: Final = (signal.SIGTERM, signal.SIGINT)
_GC_THRESHOLDS: Final = (10_000, 20, 20)


async def serve(
    url: str,
    listen: Sequence[str],
    limits: Limits,
    *,
    options: dict[str, Any] | None = None,
    access: AccessFiles = NO_FILES,
    unsafe: bool = False,
    ready: Callable[[list[str]], None] = lambda addresses: None,
    leave: Callable[[Server], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; the process's exit code.

    Args:
        url: a directory, or ``memory:``.
        listen: addresses.
        limits: see `Limits`.
        options: of the backend.
        access: users and certificates; read anew on SIGHUP, and when they change.
        unsafe: let it listen where anybody on the network may come in.
        ready: told the addresses, with the ports that they got, when clients may come.
        leave: when this returns, it stops too.

    Raises:
        BadArgument: an address that cannot be; a backend that hosts no engine.
        AccessFileError: a users file or certificate that cannot be used.
        AlreadyOpen, LogDamaged, LogUnreadable, StorageFull, StorageFailed, OSError.
    """
    backend = registry.connect(url, (), options or {})
    if not isinstance(backend, Hosted):
        raise BadArgument(f"a server keeps its messages in a directory or in memory:, not {url!r}")
    admission = await access.open()
    try:
        await backend.start()
    except BaseException:
        if admission is not None:
            await admission.close()
        raise
    server = Server(backend, limits, admission, unsafe=unsafe)
    if unsafe:
        logger.warning("anybody on the network may come in: that is what was asked for")
    stop = asyncio.Event()
    try:
        await server.listen(listen)
        with _signals(stop, admission):
            addresses = [str(address) for address in server.addresses]
            logger.info("serving %s at %s", url, ", ".join(addresses))
            ready(addresses)
            notify("READY=1")
            await _until(
                stop.wait(), server.failed.wait(), *([] if leave is None else [leave(server)])
            )
            notify("STOPPING=1")
            logger.info("draining: %d connections", server.connections)
    except BaseException:
        await server.close()
        raise
    if server.failure is not None:
        logger.error("the log has failed: %s", server.failure)
        with contextlib.suppress(Exception):
            await server.close()
        return FAILED
    await server.close()
    logger.info("stopped")
    return STOPPED


async def _until(*ends: Coroutine[Any, Any, object]) -> None:
    waits = [asyncio.ensure_future(end) for end in ends]
    try:
        ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    for wait in ended:
        wait.result()


@contextlib.contextmanager
def _signals(stop: asyncio.Event, admission: Admission | None) -> Any:
    loop = asyncio.get_running_loop()

    def end() -> None:
        stop.set()
        for number in _ENDS:  # the next one ends it at once
            loop.remove_signal_handler(number)

    handlers: dict[int, Callable[[], None]] = dict.fromkeys(_ENDS, end)
    if admission is not None:
        handlers[signal.SIGHUP] = admission.reload
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


def run(
    url: str,
    listen: Sequence[str],
    limits: Limits,
    *,
    options: dict[str, Any] | None = None,
    access: AccessFiles = NO_FILES,
    unsafe: bool = False,
    ready: Callable[[list[str]], None] = lambda addresses: None,
    leave: Callable[[Server], Coroutine[Any, Any, None]] | None = None,
    loop: str = "auto",
) -> int:
    """`serve` on a loop of its own: "uvloop", "asyncio", or "auto" for the first that is there.

    It takes the process for itself: the garbage collector looks less often.
    """
    gc.set_threshold(*_GC_THRESHOLDS)
    factory = _loop_factory(loop)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(
            serve(
                url,
                listen,
                limits,
                options=options,
                access=access,
                unsafe=unsafe,
                ready=ready,
                leave=leave,
            )
        )


def _loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if loop == "uvloop":
            raise BadArgument("uvloop is not installed: pip install 'posthouse[uvloop]'") from None
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
