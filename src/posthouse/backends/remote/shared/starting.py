"""Starting the broker process of a shared directory.

Of all clients that find nobody one does it, the one that gets ``starting.lock``; the others wait.
Which broker process gets the directory is decided by its locks alone, so a client that dies here,
or two that start at once, do no harm.
"""

from __future__ import annotations

import asyncio
import os
import random
import site
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from posthouse.backends.remote.shared import report
from posthouse.backends.remote.shared.home import LOG, STARTING_LOCK, Home, unlock
from posthouse.errors import BrokerUnreachable, StorageFailed, Unsupported

VERB: Final = "broker-process"
WAIT_S: Final = 0.03
MOST_SAID_BYTES: Final = 65536
_KEPT: Final = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH"})
_NOT_KEPT: Final = frozenset(
    {"PYTHONINSPECT", "PYTHONSTARTUP", "PYTHONBREAKPOINT", "PYTHONSAFEPATH"}
)


class Job(msgspec.Struct, frozen=True):
    """What a broker process is told.

    Attributes:
        linger_s: how long it stays when nobody is there.
        options: of the log.
    """

    linger_s: float
    options: dict[str, Any] = {}


def environment(of: Mapping[str, str]) -> dict[str, str]:
    """What a broker process needs of a program's environment, and none of its secrets."""
    kept = {
        name: value
        for name, value in of.items()
        if name in _KEPT or (name.startswith(("LC_", "PYTHON", "DYLD_")) and name not in _NOT_KEPT)
    }
    paths = [os.path.abspath(path) for path in kept.get("PYTHONPATH", "").split(os.pathsep) if path]
    home = str(Path(__file__).absolute().parents[4])  # where the package itself was found
    if home not in paths and home not in (*site.getsitepackages(), site.getusersitepackages()):
        paths.append(home)
    if paths:
        kept["PYTHONPATH"] = os.pathsep.join(paths)
    return kept


class Summoner:
    """Sees to it that a broker process is there, or on its way."""

    def __init__(self, home: Home, linger_s: float, options: dict[str, Any]) -> None:
        self._home = home
        self._job = Job(linger_s, options)

    async def __call__(self) -> None:
        """Start one if nobody answers and nobody else is starting one; else wait a little.

        Raises:
            AlreadyOpen: a program has the directory for itself.
            LogDamaged, LogUnreadable, StorageFull, StorageFailed: what opening it may raise.
            BrokerUnreachable: the process does not start.
            Unsupported: there is no Python to start it with.
        """
        home = self._home
        home.check()
        lock = home.lock(STARTING_LOCK)
        if lock is None:
            await asyncio.sleep(WAIT_S * (0.5 + random.random()))
            return
        try:
            if not home.answers():
                await self._start()
        finally:
            unlock(lock)

    async def _start(self) -> None:
        said = await _run(self._home.directory, self._job)
        told = report.decode(said)
        if told is None:
            text = said.decode(errors="replace").strip()
            last = text.splitlines()[-1] if text else "it said nothing"
            raise BrokerUnreachable(
                f"the broker process of {self._home.directory} did not start: {last} "
                f"(its log: {self._home.path(LOG)})"
            )
        if told.outcome == "failed":
            raise report.raised(told, self._home.directory)
        if told.outcome == "other":
            await asyncio.sleep(WAIT_S)


async def _run(directory: str, job: Job) -> bytes:
    """Start it; what it says until it is ready, or has ended."""
    process = _spawn(directory, job)
    # What we started forks and leaves; a thread sees it off, whatever becomes of this task.
    threading.Thread(target=process.wait, name="posthouse-reaper", daemon=True).start()
    assert process.stdout is not None
    with process.stdout as pipe:
        return await _read_all(pipe.fileno())


def _spawn(directory: str, job: Job) -> subprocess.Popen[bytes]:
    if not sys.executable or getattr(sys, "frozen", False):
        raise Unsupported(
            "a shared directory needs a Python interpreter to run its broker process, and this "
            "program has none (sys.executable); run 'posthouse serve' and open its address"
        )
    text = msgspec.json.encode(job).decode()
    command = [sys.executable, "-P", "-m", "posthouse", VERB, directory, text]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment(os.environ),
            umask=0o077,
            start_new_session=True,
            close_fds=True,
        )
    except OSError as error:
        raise StorageFailed(
            f"no broker process could be started for {directory}: {error.strerror or error}"
        ) from error


async def _read_all(fd: int) -> bytes:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    said = bytearray()

    def readable() -> None:
        try:
            data = os.read(fd, MOST_SAID_BYTES)
        except BlockingIOError:
            return
        said.extend(data)
        if (not data or len(said) > MOST_SAID_BYTES) and not ended.done():
            ended.set_result(None)

    os.set_blocking(fd, False)
    loop.add_reader(fd, readable)
    try:
        await ended
    finally:
        loop.remove_reader(fd)
    return bytes(said)
