"""``posthouse find``: messages by what is in them, to look at or to act on."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any, Final

import typer

from posthouse.broker import DEFAULT_URL, Broker
from posthouse.cli import output
from posthouse.cli.access import check_queue, reading
from posthouse.cli.failures import USAGE, CommandError
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption
from posthouse.core.filters import Filter
from posthouse.errors import FilterError
from posthouse.found import Found
from posthouse.queue import Queue

PAGE_MESSAGES: Final = 1_000
_PAST: Final = {
    "delete": "deleted from",
    "redrive": "redriven from",
    "move": "moved from",
    "delay": "delayed in",
}


def find(
    queue: QueueArgument,
    where: Annotated[
        str, typer.Argument(metavar="WHERE", help='A filter, like "body.amount > 100".')
    ],
    count: Annotated[
        int | None, typer.Option("-n", "--count", min=1, help="Print so many, at most.")
    ] = None,
    order: Annotated[
        str, typer.Option("--order", help="id, -id (newest first), priority or -priority.")
    ] = "id",
    delete: Annotated[bool, typer.Option("--delete", help="Delete what is found.")] = False,
    redrive: Annotated[
        bool, typer.Option("--redrive", help="Put dead letters back where they died.")
    ] = False,
    move: Annotated[
        str | None, typer.Option("--move", metavar="QUEUE", help="Move it to another queue.")
    ] = None,
    delay: Annotated[
        float | None, typer.Option("--delay", metavar="SECONDS", help="Let it wait so long.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Print the messages of a queue that match a filter, and leave them there.

    Or act on all of them: what waits or is delayed, never what is in flight.
    """
    _check_filter(where)
    given = {"delete": delete, "redrive": redrive, "move": move, "delay": delay}
    verbs = [verb for verb, value in given.items() if value is not None and value is not False]
    if not verbs:
        asyncio.run(_print(url, queue, where, count, order, as_json=as_json))
        return
    if len(verbs) > 1 or count is not None:
        raise CommandError("give one of --delete, --redrive, --move, --delay, and no -n with it")
    (verb,) = verbs
    if not yes:
        # Asked between two openings: a prompt inside the loop would not hear Ctrl-C.
        _confirm(verb, queue, asyncio.run(_count(url, queue, where)))
    done = asyncio.run(_act(url, queue, where, verb, given[verb]))
    if as_json:
        output.write_json({"queue": queue, verb: done})
    else:
        output.write_line(f"{done:,} {_PAST[verb]} {queue}")


def _check_filter(where: str) -> None:
    try:
        Filter(where)
    except FilterError as error:
        # On lines of its own, for the caret has to stand under the fault.
        sys.stdout.flush()
        typer.echo(f"posthouse: {error}", err=True)
        raise typer.Exit(USAGE) from None


def _confirm(verb: str, name: str, count: int) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"--{verb} asks first and there is no terminal to ask on; give --yes")
    if not typer.confirm(f"{verb.capitalize()} {count:,} messages of {name}?", err=True):
        raise CommandError("nothing was done")


async def _find(broker: Broker, name: str, where: str, order: str = "id") -> Found[Any]:
    await check_queue(broker, name)
    queue: Queue[Any] = broker.queue(name)
    return queue.find(where, order=order, limit=PAGE_MESSAGES)


async def _print(
    url: str, name: str, where: str, count: int | None, order: str, *, as_json: bool
) -> None:
    async with reading(url) as broker:
        left = count
        async for message in await _find(broker, name, where, order):
            if left is not None:
                if left == 0:
                    break
                left -= 1
            output.write_message(message, as_json=as_json)
    output.flush()


async def _count(url: str, name: str, where: str) -> int:
    async with reading(url) as broker:
        count = 0
        async for _ in await _find(broker, name, where):
            count += 1
        return count


async def _act(url: str, name: str, where: str, verb: str, value: Any) -> int:
    async with reading(url) as broker:
        found = await _find(broker, name, where)
        if verb == "move":
            target: Queue[Any] = broker.queue(value)
            return await found.move(target)
        if verb == "delay":
            return await found.delay(value)
        return await (found.delete() if verb == "delete" else found.redrive())
