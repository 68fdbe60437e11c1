"""Running the command line as a user does: as a process of its own, or on a terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "posthouse")


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """The environment without what would change how output looks."""
    dropped = ("POSTHOUSE_URL", "POSTHOUSE_DEBUG", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, "COLUMNS": "100", **more}


def posthouse(
    *arguments: str, cwd: Path, stdin: str | bytes = "", env: dict[str, str] | None = None
) -> Ran:
    """Run a command with pipes."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        env=environment(**(env or {})),
        timeout=60,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode())


def on_a_terminal(*arguments: str, cwd: Path, typed: bytes | None = None, **files: Any) -> Ran:
    """Run a command whose streams are a terminal (but for those in ``files``)."""
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **files}
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=cwd, env=environment(TERM="xterm-256color"), **streams
    ) as process:
        os.close(theirs)
        if typed is not None:
            os.write(ours, typed)
        shown = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says EIO when the last of the other side is closed
                break
            if not chunk:
                break
            shown += chunk
        code = process.wait(60)
    os.close(ours)
    return Ran(code, shown.decode(errors="replace"), "")
