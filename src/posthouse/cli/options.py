"""The options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

QueueArgument = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue's name.")]
UrlOption = Annotated[
    str,
    typer.Option("--url", envvar="POSTHOUSE_URL", help="Where the messages live: a directory."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on standard output, for machines.")]
