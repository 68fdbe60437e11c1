"""``posthouse declare``: make a queue, or change its settings."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from posthouse.broker import DEFAULT_URL, Settings
from posthouse.cli import output
from posthouse.cli.access import writing
from posthouse.cli.failures import CommandError
from posthouse.cli.options import JsonOption, QueueArgument, UrlOption
from posthouse.model import QueuePolicy, Retry

NONE = "none"


def _option(name: str, metavar: str, text: str) -> Any:
    return typer.Option(name, metavar=metavar, help=text, show_default=False)


def declare(
    queue: QueueArgument,
    order: Annotated[str | None, _option("--order", "ORDER", "fifo, lifo or priority")] = None,
    fair: Annotated[
        bool | None, typer.Option("--fair/--not-fair", help="Take in turn over keys.")
    ] = None,
    visibility_timeout: Annotated[
        float | None, _option("--visibility-timeout", "SECONDS", "How long a lease lasts.")
    ] = None,
    max_attempts: Annotated[
        int | None, _option("--max-attempts", "N", "Deliveries before the dead letters.")
    ] = None,
    dead_letter: Annotated[
        str | None, _option("--dead-letter", "QUEUE", "Where dead letters go; 'none' drops them.")
    ] = None,
    max_messages: Annotated[
        str | None, _option("--max-messages", "N", "The most it holds, or 'none'.")
    ] = None,
    max_bytes: Annotated[
        str | None, _option("--max-bytes", "N", "The same in bytes, or 'none'.")
    ] = None,
    overflow: Annotated[
        str | None, _option("--overflow", "HOW", "When full: wait, reject or drop_oldest.")
    ] = None,
    rate: Annotated[
        str | None, _option("--rate", "RATE", "Deliveries, like 100/s or 5/min, or 'none'.")
    ] = None,
    rate_per_key: Annotated[
        str | None, _option("--rate-per-key", "RATE", "The same for each key, or 'none'.")
    ] = None,
    max_in_flight: Annotated[
        str | None, _option("--max-in-flight", "N", "Delivered at a time, or 'none'.")
    ] = None,
    max_in_flight_per_key: Annotated[
        str | None, _option("--max-in-flight-per-key", "N", "The same for each key, or 'none'.")
    ] = None,
    ttl: Annotated[
        str | None, _option("--ttl", "SECONDS", "How long a message may wait, or 'none'.")
    ] = None,
    expired: Annotated[
        str | None, _option("--expired", "HOW", "Then: dead_letter or drop.")
    ] = None,
    dedup_window: Annotated[
        float | None, _option("--dedup-window", "SECONDS", "How long dedup ids are remembered.")
    ] = None,
    index: Annotated[
        str | None,
        _option("--index", "FIELDS", "Fields to find by, comma between: headers.customer,body.id"),
    ] = None,
    url: UrlOption = DEFAULT_URL,
    as_json: JsonOption = False,
) -> None:
    """Make a queue, or change the settings given; print its settings."""
    given: dict[str, Any] = {
        "order": order,
        "fair": fair,
        "visibility_timeout": visibility_timeout,
        "dead_letter": dead_letter,
        "max_messages": _number("--max-messages", max_messages),
        "max_bytes": _number("--max-bytes", max_bytes),
        "overflow": overflow,
        "rate": rate,
        "rate_per_key": rate_per_key,
        "max_in_flight": _number("--max-in-flight", max_in_flight),
        "max_in_flight_per_key": _number("--max-in-flight-per-key", max_in_flight_per_key),
        "ttl": _number("--ttl", ttl, float),
        "expired": expired,
        "dedup_window": dedup_window,
        "index": None if index is None else tuple(filter(None, index.split(","))),
    }
    settings = {
        key: None if value == NONE else value for key, value in given.items() if value is not None
    }
    policy = asyncio.run(_declare(url, queue, settings, max_attempts))
    if as_json:
        output.write_json(policy)
        return
    for field in msgspec.structs.fields(policy):
        output.write_line(f"{field.name:24} {_shown(getattr(policy, field.name))}")


async def _declare(
    url: str, name: str, settings: dict[str, Any], max_attempts: int | None
) -> QueuePolicy:
    typed: Settings = settings  # type: ignore[assignment]
    async with writing(url) as broker:
        if max_attempts is not None:
            known = name in await broker.queue_names()
            retry = broker.queue(name).policy.retry if known else Retry()
            typed["retry"] = msgspec.structs.replace(retry, max_attempts=max_attempts)
        return broker.queue(name, None, **typed).policy


def _number(option: str, value: str | None, kind: type = int) -> Any:
    if value is None or value == NONE:
        return value
    try:
        return kind(value)
    except ValueError:
        raise CommandError(f"{option} takes a number or {NONE!r}, not {value!r}") from None


def _shown(value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, Retry):
        return (
            f"{value.max_attempts} attempts, {value.backoff} from {value.first_s:g} s to "
            f"{value.most_s:g} s{', jitter' if value.jitter else ''}"
        )
    return str(value) if value != "" else "(QUEUE.dead)"
