"""A terminal: a command runs in a pseudo-terminal, and what it shows is read off its screen."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from typing import Final, Self

import pyte

PATIENCE_S: Final = 30.0


class Terminal:
    """A ``posthouse`` command in a terminal of so many columns and lines."""

    def __init__(self, *arguments: str, columns: int, lines: int) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self.screen)
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self.said = ""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "posthouse", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self._fd = ours

    def lines(self) -> list[str]:
        """What is on the screen, without the blanks behind."""
        return [line.rstrip() for line in self.screen.display]

    def until(self, check: Callable[[list[str]], bool]) -> list[str]:
        """Read on until the screen is so; what is on it then."""
        end_s = time.monotonic() + PATIENCE_S
        while not check(self.lines()):
            left_s = end_s - time.monotonic()
            shows_more = left_s > 0 and self.read(left_s)
            assert shows_more, "\n".join(self.lines())
        return self.lines()

    def read(self, timeout_s: float) -> bool:
        """Show what it says next; False: nothing, it has ended."""
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # nobody has the other end any more
            return False
        text = self._decode(data)
        self.said += text
        self._stream.feed(text)
        return bool(data)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        while self.read(PATIENCE_S):
            pass
        return self.process.wait(PATIENCE_S)

    def interrupt(self) -> int:
        """Press Ctrl-C, and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)
