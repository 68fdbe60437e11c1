"""The broker process of a shared directory: a server that nobody has to manage.

A client starts it (`posthouse.backends.remote.shared.starting`) as ``python -m posthouse
broker-process DIRECTORY JOB``. It owns the log, listens at a socket in the directory, and leaves
when nobody has been there for a while.

Invariants:

1. It has ``broker.lock`` before it opens the log, and until it has ended: who gets that lock is the
   directory's broker process, however many were started.
2. It listens only after it has the log, and removes its socket before it gives up the log: a client
   that comes too late finds nobody, and starts the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import logging.handlers
import os
import resource
import signal
import time
from typing import Final

import msgspec

import posthouse
from posthouse.backends.remote.shared import report
from posthouse.backends.remote.shared.home import LOG, SOCKET, Home, Status
from posthouse.backends.remote.shared.report import Report
from posthouse.backends.remote.shared.starting import Job
from posthouse.errors import AlreadyOpen, BrokerUnreachable, PosthouseError
from posthouse.journal.holder import taken
from posthouse.server.limits import Limits
from posthouse.server.logs import LineFormatter
from posthouse.server.run import FAILED, STOPPED, run
from posthouse.server.server import Server

logger = logging.getLogger("posthouse.server")

LOOK_S: Final = 0.1
LOG_BYTES: Final = 1024 * 1024
WAIT_FOR_LOCK_S: Final = 120.0
LOCK_LOOK_S: Final = 0.02
DYING_S: Final = 2.0
"""A process that was killed lets go of its locks one after the other."""
DRAIN_S: Final = 5.0
FIRST_S: Final = 2.0
"""How much longer it waits for the first client."""


def main(arguments: list[str]) -> int:
    """Serve the directory in ``arguments`` as the job there says; the exit code.

    The process that was started leaves at once: what serves is a child of its own, which nobody
    has to wait for.
    """
    if os.fork():
        os._exit(0)
    directory, text = arguments
    job = msgspec.json.decode(text, type=Job)
    _take_process()
    home = Home(directory)
    try:
        home.open()
        _set_up_logs(home)
        return _serve(job, home)
    except PosthouseError as error:
        _tell(report.failed(error))
        logger.error("%s", error)
    except BaseException as error:
        _tell(report.failed(error))
        logger.exception("the broker process failed")
    return FAILED


def _take_process() -> None:
    os.umask(0o077)
    # Whoever started it may have ignored or blocked them.
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _set_up_logs(home: Home) -> None:
    """Log into the directory, no more than twice `LOG_BYTES`."""
    logging.raiseExceptions = False  # a disk that is full does not stop it
    path = home.path(LOG)
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    text = f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s"
    handler.setFormatter(LineFormatter(text))
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("posthouse").setLevel(logging.INFO)


def _serve(job: Job, home: Home) -> int:
    lock = _own(home)
    if lock is None:
        _tell(Report("other"))
        return STOPPED
    before = home.read_status()
    status = Status(os.getpid(), posthouse.__version__, time.time())

    def ready(addresses: list[str]) -> None:
        home.write_status(status)
        _tell(Report("ready"))

    async def leave(server: Server) -> None:
        logger.info("%s", await _unused(server, home, job.linger_s, status))

    began_s = time.monotonic()
    try:
        while True:
            try:
                return run(
                    f"log:{home.directory}",
                    [f"unix:{home.socket_path()}"],
                    Limits(drain_s=DRAIN_S),
                    options=job.options,
                    ready=ready,
                    leave=leave,
                )
            except AlreadyOpen as error:
                dying = before is not None and error.pid == before.pid
                if time.monotonic() - began_s > (DYING_S if dying else 0.0):
                    raise taken(home.directory, error, shared=False) from None
            time.sleep(LOCK_LOOK_S)
    finally:
        home.remove_status()
        # ``lock`` is let go by the end of the process, which is after the log's.


def _own(home: Home) -> int | None:
    """The broker's lock; None when another broker process serves.

    Raises:
        BrokerUnreachable: another one neither serves nor leaves.
    """
    until_s = time.monotonic() + WAIT_FOR_LOCK_S
    while True:
        lock = home.take_broker_lock()
        if lock is not None:
            return lock
        if home.answers():
            return None
        if time.monotonic() > until_s:
            status = home.read_status()
            who = "another one" if status is None else f"process {status.pid}"
            raise BrokerUnreachable(
                f"{home.directory}: {who} is its broker process (perhaps on another machine, or "
                "stopped), and does not answer"
            )
        time.sleep(LOCK_LOOK_S)


async def _unused(server: Server, home: Home, linger_s: float, status: Status) -> str:
    """Return, with the reason, when there is nobody to serve any more."""
    loop = asyncio.get_running_loop()
    socket = _identity(home.path(SOCKET))
    used_s = loop.time() + FIRST_S  # who started it is still on the way
    while True:
        await asyncio.sleep(LOOK_S)
        now_s = loop.time()
        clients = server.connections
        if clients:
            used_s = now_s
        if clients != status.clients:
            status = msgspec.structs.replace(status, clients=clients)
            home.write_status(status)
        if now_s - used_s > linger_s:
            return f"nobody was there for {linger_s:g} s: leaving"
        if home.moved():
            return f"{home.directory} was moved or removed: leaving"
        if _identity(home.path(SOCKET)) != socket:
            return "its socket is gone: leaving"


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _tell(told: Report) -> None:
    """Tell the client that started this process, and let go of its pipe."""
    with contextlib.suppress(OSError):
        os.write(1, report.encode(told))
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    os.close(nowhere)
