"""``posthouse serve``: one broker for many programs."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from posthouse.access.listen import UNSAFE_FLAG
from posthouse.broker import DEFAULT_URL
from posthouse.cli import output
from posthouse.server.address import DEFAULT_PORT
from posthouse.server.admission import AccessFiles
from posthouse.server.limits import Limits
from posthouse.server.logs import set_up
from posthouse.server.run import run

_LISTEN = f"tcp://127.0.0.1:{DEFAULT_PORT}"


def serve(
    directory: Annotated[
        str, typer.Argument(metavar="[DIR]", help="The directory of the messages, or memory:.")
    ] = DEFAULT_URL,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            metavar="ADDRESS",
            help=f"tcp:// or tls://HOST:PORT or unix:PATH; again for more. Default: {_LISTEN}.",
        ),
    ] = None,
    users: Annotated[
        str | None,
        typer.Option("--users", metavar="FILE", help="Who may come in: see 'posthouse user'."),
    ] = None,
    cert: Annotated[
        str | None, typer.Option("--cert", metavar="FILE", help="The certificate for tls://, PEM.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="FILE", help="Its key, if not in that file.")
    ] = None,
    client_ca: Annotated[
        str | None,
        typer.Option(
            "--client-ca", metavar="FILE", help="Clients must have a certificate signed by these."
        ),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option(UNSAFE_FLAG, help="Listen on a network without users or TLS.")
    ] = False,
    log_json: Annotated[bool, typer.Option("--log-json", help="Logs as lines of JSON.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
    max_connections: Annotated[
        int, typer.Option(min=1, help="No more connections than this.")
    ] = Limits().connections,
    max_memory_mib: Annotated[
        int, typer.Option(min=16, help="What clients may hold of memory, MiB, all together.")
    ] = Limits().memory_bytes // 2**20,
    max_rate: Annotated[
        float | None, typer.Option(help="Requests a second from one connection; default: any.")
    ] = None,
    heartbeat_s: Annotated[
        float, typer.Option(min=0.5, help="Who is silent for twice as long is cut off.")
    ] = Limits().heartbeat_s,
    loop: Annotated[str, typer.Option(help="auto, uvloop or asyncio.")] = "auto",
) -> None:
    """Serve a directory to other programs, until SIGTERM or Ctrl-C.

    They open it as tcp://127.0.0.1:7333 (posthouse.open, or --url here). On a network that takes
    --users, and a tls:// address with --cert and --key.
    """
    set_up(as_json=log_json, level=logging.DEBUG if verbose else logging.INFO)
    limits = Limits(
        connections=max_connections,
        memory_bytes=max_memory_mib * 2**20,
        requests_per_s=max_rate,
        heartbeat_s=heartbeat_s,
    )

    def ready(addresses: list[str]) -> None:
        for address in addresses:
            output.write_line(f"listening at {address}")
        output.flush()

    code = run(
        directory,
        listen or [_LISTEN],
        limits,
        access=AccessFiles(users, cert, key, client_ca),
        unsafe=unsafe,
        ready=ready,
        loop=loop,
    )
    if code:
        raise typer.Exit(code)
