"""``posthouse redrive``: dead letters back to where they died."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from posthouse.broker import DEFAULT_URL
from posthouse.cli import output
from posthouse.cli.access import check_queue, reading
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption


def redrive(
    queue: QueueArgument,
    most: Annotated[
        int | None, typer.Option("-n", metavar="N", help="At most so many; default: all.")
    ] = None,
    per_second: Annotated[
        float | None, typer.Option("--per-second", metavar="RATE", help="No faster than this.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Put the dead letters of a queue (like orders.dead) back where they died."""
    count, left = asyncio.run(_redrive(url, queue, most, per_second))
    if as_json:
        output.write_json({"queue": queue, "redriven": count, "left": left})
    else:
        output.write_line(f"{count:,} redriven from {queue}, {left:,} left")


async def _redrive(
    url: str, name: str, most: int | None, per_second: float | None
) -> tuple[int, int]:
    async with reading(url) as broker:
        await check_queue(broker, name)
        queue = broker.queue(name)
        count = await queue.redrive(most, per_second=per_second)
        return count, queue.qsize()
