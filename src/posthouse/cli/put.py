"""``posthouse put``: messages from arguments or from the lines of standard input."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from posthouse.broker import DEFAULT_URL
from posthouse.cli import output
from posthouse.cli.access import writing
from posthouse.cli.failures import CommandError
from posthouse.cli.lines import stdin_lines, stdin_size_bytes
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption
from posthouse.errors import PosthouseError
from posthouse.model import check_queue_name, check_seconds
from posthouse.options import PutOptions
from posthouse.queue import Queue

BATCH_MESSAGES: Final = 1_000
BATCH_BYTES: Final = 8 * 1024 * 1024
ROOM_TIMEOUT_S: Final = 5.0


def put(
    queue: QueueArgument,
    bodies: Annotated[
        list[str] | None,
        typer.Argument(metavar="[BODY]...", help="A message each; none: lines of stdin."),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Bodies are text, not JSON.")] = False,
    delay: Annotated[
        float, typer.Option("--delay", metavar="SECONDS", help="Deliver no sooner than this.")
    ] = 0.0,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="Their ordering key.")
    ] = None,
    priority: Annotated[int, typer.Option("--priority", metavar="0-255", help="Higher first.")] = 0,
    ttl: Annotated[
        float | None, typer.Option("--ttl", metavar="SECONDS", help="How long they may wait.")
    ] = None,
    dedup: Annotated[
        str | None, typer.Option("--dedup", metavar="ID", help="A dedup id, for one message.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Put messages on a queue, each a JSON value (or with --text, a line of text)."""
    check_queue_name(queue)
    check_seconds("delay", delay)
    options: PutOptions = {"delay": delay or None, "key": key, "priority": priority, "ttl": ttl}
    if dedup is not None:
        if len(bodies or []) != 1:
            raise CommandError("--dedup names one message: give one body")
        options["dedup"] = dedup
    asyncio.run(_Put(queue, text=text, options=options, as_json=as_json).run(url, bodies or []))


class _Put:
    """One run of the command, and how far it got."""

    def __init__(self, queue: str, *, text: bool, options: PutOptions, as_json: bool) -> None:
        self._queue = queue
        self._text = text
        self._options = options
        self._as_json = as_json
        self._read = 0
        self._stored = 0

    async def run(self, url: str, arguments: list[str]) -> None:
        """Put everything and say how many."""
        bodies = [self._body(argument.encode()) for argument in arguments]
        if not arguments and sys.stdin.isatty():
            print("reading messages, one a line; end with Ctrl-D", file=sys.stderr)
        progress, task = _progress(len(arguments))
        async with writing(url) as broker:
            queue: Queue[object] = broker.queue(self._queue)
            with progress:
                try:
                    if arguments:
                        for start in range(0, len(bodies), BATCH_MESSAGES):
                            await self._store(queue, bodies[start : start + BATCH_MESSAGES])
                            progress.update(task, completed=self._stored, count=self._stored)
                    else:
                        async for batch, size_bytes in self._batches():
                            await self._store(queue, batch)
                            progress.update(task, advance=size_bytes, count=self._stored)
                except PosthouseError as error:
                    raise CommandError(f"{error}; {_messages(self._stored)} put") from error
        if not self._as_json:
            output.write_line(f"{_messages(self._stored)} put on {self._queue}")

    async def _batches(self) -> AsyncIterator[tuple[list[object], int]]:
        """Bodies from standard input in bounded batches, with the bytes each batch took."""
        async for lines in stdin_lines():
            batch: list[object] = []
            size_bytes = taken_bytes = 0
            for line in lines:
                taken_bytes += len(line) + 1
                if not self._text and not line.strip():
                    self._read += 1
                    continue
                try:
                    batch.append(self._body(line))
                except CommandError:
                    # What came before the bad line was good: it goes out first.
                    if batch:
                        yield batch, taken_bytes
                    raise
                size_bytes += len(line)
                if len(batch) >= BATCH_MESSAGES or size_bytes >= BATCH_BYTES:
                    yield batch, taken_bytes
                    batch, size_bytes, taken_bytes = [], 0, 0
            if batch:
                yield batch, taken_bytes

    async def _store(self, queue: Queue[object], batch: list[object]) -> None:
        try:
            if "dedup" in self._options:
                ids: Sequence[str] = [
                    await queue.put(batch[0], timeout=ROOM_TIMEOUT_S, **self._options)
                ]
            else:
                ids = await queue.put_many(batch, timeout=ROOM_TIMEOUT_S, **self._options)
        except TimeoutError:
            # Nobody else can have this directory open, so nobody will make room.
            raise CommandError(f"{self._queue} is full") from None
        self._stored += len(ids)
        if self._as_json:
            for name in ids:
                output.write_json({"id": name})
            output.flush()

    def _body(self, line: bytes) -> object:
        self._read += 1
        try:
            if self._text:
                return line.decode()
            msgspec.json.decode(line)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            hint = "" if self._text else " (--text puts plain text)"
            kind = "UTF-8 text" if self._text else "JSON"
            raise CommandError(f"message {self._read} is not {kind}: {error}{hint}") from error
        # As it was written: no number or space in it changes.
        return msgspec.Raw(line.strip())


def _progress(count: int) -> tuple[Progress, TaskID]:
    """A bar on standard error when that is a terminal (over messages, or bytes of a file)."""
    console = Console(stderr=True)
    total = count or stdin_size_bytes()
    progress = Progress(
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.fields[count]:,} messages"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal or (not count and sys.stdin.isatty()),
    )
    return progress, progress.add_task("put", total=total, count=0)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count:,} messages"
