"""beanstalkd with its binlog."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from bench.peers.model import Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server

MAX_JOB_BYTES = 16 * 1024 * 1024


class Beanstalkd:
    """Debian's package, unpacked."""

    name = "beanstalkd"
    client = "bench.peers.clients.beanstalkd"
    modes: Sequence[Mode] = (
        Mode("-f0", "synced", syncs=True, settings={"options": "-f0"}),
        Mode("default (-f50)", "written; synced every 50 ms", syncs=False),
    )

    def install(self, kit: Kit) -> Place:
        """The server; the client is ours."""
        root, versions = kit.debs(self.name, "beanstalkd")
        binary = root / "usr/bin/beanstalkd"
        if shutil.which(binary) is None:
            raise NotToBeHad("the package has no server for this machine")
        version = versions.get("beanstalkd", "")
        return Place(f"beanstalkd {version}; a small client of our own", binary)

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """With a binlog in the directory."""
        server = Server(directory)
        where = ["-l", HOST, "-p", str(server.port), "-b", str(directory)]
        options = mode.settings.get("options", "").split()
        server.run([str(place.files), *where, "-z", str(MAX_JOB_BYTES), *options])
        server.wait_until_open()
        return server
