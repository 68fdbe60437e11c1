"""``posthouse get`` and ``posthouse peek``: messages to standard output."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

import typer

from posthouse.broker import DEFAULT_URL
from posthouse.cli import output
from posthouse.cli.access import check_queue, reading
from posthouse.cli.failures import CommandError
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption
from posthouse.errors import QueueEmpty
from posthouse.queue import Queue

BATCH_MESSAGES: Final = 1_000


def get(
    queue: QueueArgument,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", min=1, help="How many, at most (default 1)."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that are waiting now.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on, and wait for what comes.")
    ] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Take messages off a queue and print them, a line each.

    A message is acknowledged once it is printed and flushed. When none is waiting (and without
    --follow), that is an error.
    """
    if everything and (follow or count is not None):
        raise CommandError("--all goes without -n and --follow")
    most = count if count is not None else (None if follow or everything else 1)
    asyncio.run(_get(url, queue, most, follow=follow, as_json=as_json))


def peek(
    queue: QueueArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many, at most.")] = 1,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Print the next messages of a queue and leave them there."""
    asyncio.run(_peek(url, queue, count, as_json=as_json))


async def _get(url: str, name: str, most: int | None, *, follow: bool, as_json: bool) -> None:
    async with reading(url) as broker:
        await check_queue(broker, name)
        queue: Queue[Any] = broker.queue(name)
        if not follow:
            waiting = (await queue.stats()).waiting
            if waiting == 0:
                raise CommandError(f"no message is waiting on {name}")
            most = waiting if most is None else min(most, waiting)
        taken = 0
        while most is None or taken < most:
            wanted = BATCH_MESSAGES if most is None else min(BATCH_MESSAGES, most - taken)
            try:
                batch = await queue.get_many(wanted, timeout=None if follow else 0)
            except (TimeoutError, QueueEmpty):
                return
            for message in batch:
                output.write_message(message, as_json=as_json)
            output.flush()
            await queue.ack_many(batch)
            taken += len(batch)


async def _peek(url: str, name: str, count: int, *, as_json: bool) -> None:
    async with reading(url) as broker:
        await check_queue(broker, name)
        queue: Queue[Any] = broker.queue(name)
        messages = await queue.peek(count)
        if not messages:
            raise CommandError(f"no message is waiting on {name}")
        for message in messages:
            output.write_message(message, as_json=as_json)
