"""The commands, put together."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from posthouse.cli import declare, find, put, queues, read, redrive, serve, top, topics, user
from posthouse.cli.demo import command as demo
from posthouse.cli.log import command as log

app = typer.Typer(
    name="posthouse",
    help="A durable message queue for asyncio: its queues from the command line.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    if version:
        typer.echo(importlib.metadata.version("posthouse"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.command()(demo.demo)
app.command()(put.put)
app.command()(read.get)
app.command()(read.peek)
app.command()(find.find)
app.command()(queues.stats)
app.command()(queues.queues)
app.command()(queues.purge)
app.command()(declare.declare)
app.command()(redrive.redrive)
app.command()(topics.bind)
app.command()(topics.unbind)
app.command()(topics.bindings)
app.command()(topics.publish)
app.command()(serve.serve)
app.command()(top.top)
app.add_typer(log.app)
app.add_typer(user.app)
