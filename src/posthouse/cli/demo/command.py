"""``posthouse demo``."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import typer

from posthouse.cli.demo.inputs import fitting, matching, standard_library
from posthouse.cli.demo.parent import Demo
from posthouse.cli.failures import FAILED, CommandError


def demo(
    pattern: Annotated[
        str | None,
        typer.Option(
            "--files",
            metavar="PATTERN",
            help="Python files to count, as a glob (quoted, with ** for folders within folders); "
            "default: the standard library.",
        ),
    ] = None,
) -> None:
    """Count what is in Python source files, over durable queues, and survive two SIGKILLs.

    A producer puts a message for each file on a queue in a temporary directory; consumers parse
    them and put what they find on a second queue, in one transaction with the ack; a collector
    keeps the totals as a message. Each is a process, and they share the directory. In the middle a
    consumer is killed, and then the broker process that they share it through. At the end the
    totals are compared with a direct count, and the messages with a ledger that was kept outside.
    Exits with 1 if anything was lost, counted twice, or differs.
    """
    # A connection that broke and was made again is what the demo is about.
    logging.getLogger("posthouse.link").setLevel(logging.CRITICAL)
    found = standard_library() if pattern is None else matching(pattern)
    files, too_large = fitting(found)
    if not files:
        raise CommandError("every file is over the 16 MiB of a message")
    what = "the standard library" if pattern is None else pattern
    typer.echo(f"{len(files):,} files of {what}")
    if too_large:
        typer.echo(f"left out: {too_large:,} files over the 16 MiB of a message")
    if not asyncio.run(Demo(files).run()):
        raise typer.Exit(FAILED)
