"""``posthouse queues``, ``stats`` and ``purge``: what there is, and how to be rid of it."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Annotated, Any

import typer

from posthouse.backends.remote.shared.home import Status, broker_status
from posthouse.broker import DEFAULT_URL
from posthouse.cli import output
from posthouse.cli.access import check_queue, directory_of, reading
from posthouse.cli.failures import CommandError
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption
from posthouse.model import QueueStats
from posthouse.queue import Queue


def queues(url: UrlOption = DEFAULT_URL, as_json: JsonOption = False) -> None:
    """Print the names of the queues."""
    names = asyncio.run(_names(url))
    if as_json:
        output.write_json(names)
        return
    for name in names:
        output.write_line(name)


def stats(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only these; none: all.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Print what each queue holds; of a shared directory also who serves it."""
    figures, status = asyncio.run(_stats(url, names or []))
    if as_json:
        output.write_json(figures)
        return
    head = ["queue", "waiting", "delayed", "in flight", "size", "oldest"]
    output.write_table(head, [_row(each) for each in figures])
    if status is not None:
        up_s = max(time.time() - status.since_s, 0.0)
        output.write_line(
            f"shared through broker process {status.pid} (posthouse {status.version}), up "
            f"{output.human_time(up_s)}, {status.clients:,} connected"
        )


def purge(
    queue: QueueArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Delete every message that is waiting on a queue, after asking."""
    if not yes:
        # Asked between two openings: a prompt inside the loop would not hear Ctrl-C.
        _confirm(queue, asyncio.run(_held(url, queue)))
    count = asyncio.run(_purge(url, queue))
    if as_json:
        output.write_json({"queue": queue, "purged": count})
    else:
        output.write_line(f"{count:,} purged from {queue}")


async def _names(url: str) -> list[str]:
    async with reading(url) as broker:
        return await broker.queue_names()


async def _stats(url: str, names: list[str]) -> tuple[list[QueueStats], Status | None]:
    directory = directory_of(url)
    async with reading(url) as broker:
        for name in names:
            await check_queue(broker, name)
        figures = [each for each in await broker.stats() if not names or each.name in names]
        return figures, None if directory is None else broker_status(directory)


async def _held(url: str, name: str) -> int:
    async with reading(url) as broker:
        await check_queue(broker, name)
        queue: Queue[Any] = broker.queue(name)
        figures = await queue.stats()
        return figures.waiting + figures.delayed


async def _purge(url: str, name: str) -> int:
    async with reading(url) as broker:
        await check_queue(broker, name)
        queue: Queue[Any] = broker.queue(name)
        return await queue.purge()


def _confirm(name: str, count: int) -> None:
    if not sys.stdin.isatty():
        raise CommandError("purge asks first and there is no terminal to ask on; give --yes")
    if not typer.confirm(f"Delete {count:,} messages from {name}?", err=True):
        raise CommandError("nothing was deleted")


def _row(each: QueueStats) -> list[str]:
    held = each.waiting + each.delayed + each.in_flight
    return [
        each.name,
        f"{each.waiting:,}",
        f"{each.delayed:,}",
        f"{each.in_flight:,}",
        output.human_size(each.size_bytes),
        output.human_time(each.oldest_age_s) if held else "-",
    ]
