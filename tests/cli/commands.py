"""Running the command line as a user does: as a process of its own, or on a terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from posthouse.cli import run

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
    dropped = {"FORCE_COLOR", "NO_COLOR", "POSTHOUSE_DEBUG", "POSTHOUSE_URL", "PYTHONUNBUFFERED"}
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


def inside(*arguments: str, cwd: Path, stdin: str | bytes = "") -> Ran:
    """Run a command in this process: quicker, and as good where the process is not the question."""
    data = stdin.encode() if isinstance(stdin, str) else stdin
    streams = [io.TextIOWrapper(io.BytesIO(each), "utf-8", newline="") for each in (data, b"", b"")]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        patch.delenv("POSTHOUSE_URL", raising=False)
        for name, stream in zip(("stdin", "stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, stream)
        code = run(arguments)
    said = []
    for stream in streams[1:]:
        stream.flush()
        said.append(stream.buffer.getvalue().decode(errors="replace"))
    return Ran(code, *said)


def on_a_terminal(*arguments: str, cwd: Path, typed: bytes | None = None, **files: Any) -> Ran:
    """Run a command whose streams are a terminal (but for those in ``files``)."""
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **files}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(TERM="xterm-256color"),
        start_new_session=True,
        preexec_fn=_take_the_terminal,
        **streams,
    )
    try:
        os.close(theirs)
        if typed is not None:
            os.write(ours, typed)
        shown = _read_to_the_end(ours)
        code = process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Ran(code, shown.decode(errors="replace"), "")


def _take_the_terminal() -> None:
    # So that a typed Ctrl-C becomes a signal, as in a shell.
    for descriptor in (0, 1, 2):
        if os.isatty(descriptor):
            fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)
            return


def _read_to_the_end(descriptor: int) -> bytes:
    shown = b""
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux says EIO when the last of the other side is closed
            return shown
        if not chunk:
            return shown
        shown += chunk
