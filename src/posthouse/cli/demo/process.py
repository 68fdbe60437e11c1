"""A child process, seen from outside."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from posthouse.cli.demo.events import AnyEvent, Job, decode_line
from posthouse.cli.failures import CommandError

SILENCE_S: Final = 60.0
"""A child that reports nothing for so long is taken for hung, seconds."""
LINE_BYTES: Final = 1024 * 1024


def write_job(path: Path, job: Job) -> None:
    """Write the job where a child will read it."""
    path.write_bytes(msgspec.json.encode(job))


class Child:
    """A child process and its pipe. Leaving the context kills it if it still runs.

    Attributes:
        killed: it was killed, and not by chance.
        stopped: it was asked to leave.
    """

    def __init__(self, job_path: Path) -> None:
        self._job_path = job_path
        self._process: asyncio.subprocess.Process | None = None
        self.killed = self.stopped = False

    async def __aenter__(self) -> Child:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # the user's folder may have an ast.py of its own
            "-m",
            "posthouse.cli.demo.child",
            str(self._job_path),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            start_new_session=True,  # Ctrl-C is for the parent, which then kills the child
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.kill()
        await self.wait()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process; the context must have been entered."""
        assert self._process is not None
        return self._process

    async def events(self) -> AsyncIterator[AnyEvent]:
        """What the child reports, until its pipe ends.

        Raises:
            CommandError: it said nothing for `SILENCE_S` seconds.
        """
        stdout = self.process.stdout
        assert stdout is not None
        while True:
            try:
                async with asyncio.timeout(SILENCE_S):
                    line = await stdout.readline()
            except TimeoutError:
                raise CommandError(f"the child did nothing for {SILENCE_S:g} s") from None
            if not line.endswith(b"\n"):
                return  # the end, or a report that the kill cut in two
            yield decode_line(line)

    def stop(self) -> None:
        """Ask it to leave, if it still runs."""
        if self.process.returncode is None and not self.killed:
            self.stopped = True
            self.process.terminate()

    def kill(self) -> None:
        """Kill it with SIGKILL, if it still runs."""
        # Once only: a second kill could reap the process before asyncio's own watcher does.
        if self.process.returncode is None and not self.killed:
            self.killed = True
            self.process.kill()

    async def wait(self) -> int:
        """Its exit code."""
        return await self.process.wait()

    async def ended_well(self, *, finished: bool) -> bool:
        """Whether it ended as it should; ``finished``: it reported that it was done.

        One that was asked to leave before it could hear that (it was still starting) just ends.
        """
        code = await self.wait()
        if self.killed or (self.stopped and code == -signal.SIGTERM):
            return True
        return finished and code == 0

    async def why_it_ended(self) -> str:
        """What it said on standard error, in one line."""
        stderr = self.process.stderr
        assert stderr is not None
        said = (await stderr.read()).decode(errors="replace").strip()
        return f"the child ended with code {await self.wait()}: {said or 'it said nothing'}"
