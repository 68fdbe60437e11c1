"""posthouse's own server, of this tree."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import posthouse
from bench.peers.model import Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server

ASK_TIMEOUT_S = 30.0


class Posthouse:
    """``posthouse serve`` on a directory."""

    name = "posthouse"
    client = "bench.peers.clients.posthouse"
    modes: Sequence[Mode] = (
        Mode("", "synced; an ack is written with the next commit", syncs=True),
    )

    def install(self, kit: Kit) -> Place:
        """It is here; see whether it can serve."""
        asked = subprocess.run(
            [sys.executable, "-m", "posthouse", "serve", "--help"],
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=False,
        )
        if asked.returncode:
            raise NotToBeHad("this posthouse has no 'serve'")
        return Place(f"posthouse {posthouse.__version__}", Path())

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """Serve an empty directory."""
        server = Server(directory)
        listen = f"tcp://{HOST}:{server.port}"
        command = [sys.executable, "-m", "posthouse", "serve", str(directory / "data")]
        server.run([*command, "--listen", listen])
        server.wait_until_open()
        return server
