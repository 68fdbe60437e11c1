"""``posthouse demo``."""

from __future__ import annotations

import asyncio
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
    """Count what is in Python source files, over a durable queue, and survive a SIGKILL.

    A producer puts a message for each file on a queue in a temporary directory; consumers parse
    them and put what they find on a second queue, in one transaction with the ack; a collector
    keeps the totals as a message. In the middle the process that does this is killed and started
    again. At the end the totals are compared with a direct count, and the messages with a ledger
    that was kept outside. Exits with 1 if anything was lost, counted twice, or differs.
    """
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
