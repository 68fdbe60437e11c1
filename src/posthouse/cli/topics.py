"""``posthouse bind``, ``unbind``, ``bindings`` and ``publish``: topics from the command line."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from posthouse.broker import DEFAULT_URL
from posthouse.cli import output
from posthouse.cli.access import check_queue, reading, writing
from posthouse.cli.failures import CommandError
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption

TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic's name.")]
PatternArgument = Annotated[
    str, typer.Argument(metavar="[PATTERN]", help="Words; * is one word, # any number.")
]


def bind(
    topic: TopicArgument,
    queue: QueueArgument,
    pattern: PatternArgument = "#",
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Let a topic's messages whose routing keys match go to a queue."""
    asyncio.run(_bind(url, topic, queue, pattern))
    output.write_line(f"{queue} is bound to {topic} by {pattern}")


def unbind(
    topic: TopicArgument,
    queue: QueueArgument,
    pattern: PatternArgument = "#",
    url: UrlOption = DEFAULT_URL,
) -> None:
    """End a binding."""
    asyncio.run(_unbind(url, topic, queue, pattern))
    output.write_line(f"{queue} is not bound to {topic} by {pattern} any more")


def bindings(
    topic: TopicArgument, url: UrlOption = DEFAULT_URL, as_json: JsonOption = False
) -> None:
    """Print the queues that are bound to a topic."""
    found = asyncio.run(_bindings(url, topic))
    if as_json:
        output.write_json([{"queue": queue, "pattern": pattern} for queue, pattern in found])
    else:
        output.write_table(["queue", "pattern"], [list(row) for row in found])


def publish(
    topic: TopicArgument,
    bodies: Annotated[list[str], typer.Argument(metavar="BODY...", help="A message each.")],
    key: Annotated[str, typer.Option("--key", metavar="KEY", help="The routing key.")] = "",
    text: Annotated[bool, typer.Option("--text", help="Bodies are text, not JSON.")] = False,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Publish messages to a topic: each goes to every queue bound for its key."""
    parsed = [_body(body, text=text) for body in bodies]
    for ids in asyncio.run(_publish(url, topic, parsed, key)):
        if as_json:
            output.write_json(ids)
        else:
            output.write_line(" ".join(f"{queue}:{name}" for queue, name in sorted(ids.items())))


def _body(body: str, *, text: bool) -> object:
    if text:
        return body
    try:
        msgspec.json.decode(body)
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        raise CommandError(f"not JSON: {error} (--text publishes plain text)") from error
    return msgspec.Raw(body.strip().encode())


async def _bind(url: str, topic: str, queue: str, pattern: str) -> None:
    async with writing(url) as broker:
        await broker.queue(queue).bind(broker.topic(topic), pattern)


async def _unbind(url: str, topic: str, queue: str, pattern: str) -> None:
    async with reading(url) as broker:
        await check_queue(broker, queue)
        found = await broker.topic(topic).bindings()
        if (queue, pattern) not in found:
            raise CommandError(f"{queue} is not bound to {topic} by {pattern!r}")
        await broker.queue(queue).unbind(broker.topic(topic), pattern)


async def _bindings(url: str, topic: str) -> list[tuple[str, str]]:
    async with reading(url) as broker:
        return await broker.topic(topic).bindings()


async def _publish(url: str, topic: str, bodies: list[object], key: str) -> list[dict[str, str]]:
    async with reading(url) as broker:
        handle = broker.topic(topic)
        return [await handle.publish(body, key=key) for body in bodies]
