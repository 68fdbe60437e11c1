"""Starts the processes of a server, waits for its port, and stops them all."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

HOST = "127.0.0.1"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
LOOK_S = 0.02
LOG_LINES = 5


class ServerFailed(Exception):
    """A server did not start or ended too early; with the last lines of what it wrote."""


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """The processes of one server, each in a process group of its own.

    Attributes:
        port: where it is to listen, on the loopback address.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self._directory = directory
        self._processes: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []

    @property
    def process_ids(self) -> list[int]:
        """Of the processes that were started."""
        return [process.pid for process, _signal in self._processes]

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_with: signal.Signals = signal.SIGTERM,
    ) -> None:
        """Start one process; ``env`` is added to this process's.

        Raises:
            ServerFailed: there is no such program.
        """
        with (self._directory / "server.log").open("ab") as log:
            try:
                process = subprocess.Popen(
                    command,
                    cwd=self._directory,
                    env={**os.environ, **(env or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    user=user,
                    group=None if user is None else _group_of(user),
                    extra_groups=None if user is None else [],
                )
            except OSError as exc:
                raise ServerFailed(f"{Path(command[0]).name}: {exc.strerror}") from exc
        self._processes.append((process, stop_with))

    def wait_until_open(self, port: int | None = None) -> None:
        """Wait until ``port`` (default: the server's) takes a connection.

        Raises:
            ServerFailed: a process ended, or it took more than a minute. All are stopped then.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.check()
                with socket.create_connection((HOST, port or self.port), timeout=1.0):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    self.stop()
                    raise ServerFailed(f"did not listen in time; {self._log()}") from None
            except ServerFailed:
                self.stop()
                raise
            time.sleep(LOOK_S)

    def check(self) -> None:
        """Raise `ServerFailed` when one of the processes has ended."""
        for process, _signal in self._processes:
            if process.poll() is not None:
                raise ServerFailed(f"ended with status {process.returncode}; {self._log()}")

    def stop(self) -> None:
        """Stop all, the last started first; kill what does not stop in 10 s. Can be repeated."""
        while self._processes:
            process, stop_with = self._processes.pop()
            if process.poll() is None:
                process.send_signal(stop_with)
                try:
                    process.wait(STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    pass
            # Its children share its group, and some outlive it for a moment.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()

    def _log(self) -> str:
        text = (self._directory / "server.log").read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return "it wrote: " + (" / ".join(lines[-LOG_LINES:])[-500:] or "nothing")


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
