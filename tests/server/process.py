"""A server as a process of its own, to be killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Self

START_S = 30.0


class ServerProcess:
    """``posthouse serve`` on a directory, at the same port whenever it is started again."""

    def __init__(
        self,
        directory: Path | str,
        *options: str,
        before: Callable[[], None] | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.options = options
        self.url = "tcp://127.0.0.1:0"
        self.before = before
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-W", "ignore", "-m", "posthouse", "serve", str(self.directory)]
        command += ["--listen", self.url, "--loop", "asyncio", *self.options]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            preexec_fn=self.before,
            env=self.environment,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("listening at "), line
        self.url = line.removeprefix("listening at ").strip()

    def end(self, *, kill: bool = False) -> int:
        process, self.process = self.process, None
        if process is None:
            return 0
        if kill:
            process.kill()
        else:
            process.terminate()
        code = process.wait(START_S)
        assert process.stdout is not None
        process.stdout.close()
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(kill=True)
