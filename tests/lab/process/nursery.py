"""The fork server as the witness sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias

from tests.lab.process.job import Job, decode_report, encode_line

End: TypeAlias = Literal["closed", "clock", "point"]
"""It closed its broker; it was killed when its time was up; it killed itself at a fail point."""


class ChildFailed(AssertionError):
    """A child ended as no child should: its program failed, or it hung."""


class Nursery:
    """Children, one at a time. Leaving the context ends the server."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        paths = [os.getcwd(), *filter(None, sys.path)]
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.lab.process.server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server = self._server
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.close()
        # Read on, so that a child that still reports can come to its end.
        server.stdout.read()
        server.stdout.close()
        server.wait()
        self._errors.close()

    def raise_child(self, job: Job, take: Callable[..., None]) -> End:
        """Let a child do the job, and tell how it ended; ``take`` is given its reports.

        Raises:
            ChildFailed: it was not killed and did not end well.
        """
        server = self._server
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(encode_line(job) + b"\n")
        server.stdin.flush()
        while True:
            line = server.stdout.readline()
            if not line.endswith(b"\n"):
                raise ChildFailed(f"the fork server ended: {self.said()}")
            fields: list[Any] = decode_report(line)
            if fields[0] == "ended":
                break
            take(*fields)
        code, hung, timed = fields[1], fields[2], fields[3]
        if code == -signal.SIGKILL and not hung:
            return "clock" if timed else "point"
        if code or hung:
            how = "hung" if hung else f"ended with code {code}"
            raise ChildFailed(f"a child {how}: {job}\n{self.said()}")
        return "closed"

    def said(self) -> str:
        """What the server and its children wrote to standard error so far."""
        # Its offset is the server's too, and stays where it is.
        fd = self._errors.fileno()
        start = max(0, os.fstat(fd).st_size - 8000)
        return os.pread(fd, 8000, start).decode(errors="replace")
