"""Opening a broker for a command, with the care that a command owes.

A directory is created only to put something in it, and a queue that is to be read is never made.
A directory that programs share at the moment is joined; any other is opened for the command alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from posthouse.access.redact import redact_url
from posthouse.broker import Broker
from posthouse.broker import open as open_broker
from posthouse.cli.bar import opening_bar
from posthouse.cli.failures import CommandError
from posthouse.journal.holder import is_shared

_NAMES_SHOWN: Final = 10


@contextlib.asynccontextmanager
async def writing(url: str) -> AsyncIterator[Broker]:
    """The broker, its directory created if need be.

    Raises:
        CommandError: the URL is one that a command cannot use.
    """
    _refuse_memory(url)
    async with _opened(url) as broker:
        yield broker


@contextlib.asynccontextmanager
async def reading(url: str) -> AsyncIterator[Broker]:
    """The broker, which must be there already.

    Raises:
        CommandError: nothing is there, or the URL is one that a command cannot use.
    """
    _refuse_memory(url)
    _check_there(url)
    async with _opened(url) as broker:
        yield broker


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Broker]:
    options = _joining(url)
    with opening_bar() as progress:
        if directory_of(url) is not None and not url.startswith("shared:") and not options:
            options["progress"] = progress  # this command reads the log itself
        broker = await open_broker(url, **options)
    try:
        yield broker
    finally:
        await broker.close()


async def check_queue(broker: Broker, name: str) -> None:
    """Raise unless the broker has the queue.

    Raises:
        CommandError: it has not; the text names those it has.
    """
    names = await broker.queue_names()
    if name in names:
        return
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    raise CommandError(f"there is no queue {ascii(name)}; there are: {shown or 'none'}")


def _refuse_memory(url: str) -> None:
    if url.startswith("memory:"):
        raise CommandError("memory: lives and ends inside one process; give --url a directory")


def _check_there(url: str) -> None:
    name = directory_of(url)
    if name is None:
        if url.startswith("sqlite:"):
            # Here, for no other command needs to load that backend.
            from posthouse.backends.sqlite.opening import path_of

            if not Path(path_of(url.partition(":")[2])).exists():
                raise CommandError(f"there is no {redact_url(url)}; nothing was ever put there")
        return  # another backend, which says itself what it misses
    directory = Path(name)
    if not directory.exists():
        raise CommandError(
            f"there is no {redact_url(str(directory))}; name the directory with --url or "
            "POSTHOUSE_URL"
        )
    if directory.is_dir() and not any(directory.iterdir()):
        raise CommandError(f"{directory} is empty: nothing was ever put there")


def directory_of(url: str) -> str | None:
    """The directory that a URL names; None if it is something else."""
    scheme, colon, rest = url.partition(":")
    if not colon or "/" in scheme:
        return url
    return rest if scheme in ("log", "shared") else None


def _joining(url: str) -> dict[str, Any]:
    """The options with which a command opens it."""
    directory = directory_of(url)
    if directory is None:
        return {}
    if url.startswith("shared:"):
        # A broker process that a command had to start need not stay for others.
        return {"linger_s": 0.0}
    return {"share": True} if is_shared(directory) else {}
