"""What the tests of the SQLite backend share: places, and other processes on them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

import posthouse

_PREAMBLE: Final = """
import asyncio, os, sys
import posthouse
URL = sys.argv[1]
def say(*words):
    print(*words, flush=True)
"""


def url_of(path: Path) -> str:
    """The database's URL."""
    return f"sqlite:///{path}"


def opened(path: Path, **options: Any) -> posthouse.Broker:
    """A broker on the database, for ``async with``."""
    return posthouse.open(url_of(path), **options)


class Other:
    """Another process, which runs ``async def main()`` of a script and says lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, path: Path, script: str) -> Other:
        """Begin; the script has ``posthouse``, ``URL`` and ``say``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"{_PREAMBLE}\n{script}\nasyncio.run(main())",
            url_of(path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        return cls(process)

    async def hear(self) -> str:
        """The next line that it says; "" at its end."""
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            return (await self.process.stdout.readline()).decode().strip()

    async def kill(self) -> None:
        """End it at once, without a chance to say goodbye."""
        self.process.kill()
        await self.process.wait()

    async def end(self) -> None:
        """Wait for its end, which must be a good one."""
        async with asyncio.timeout(30):
            assert await self.process.wait() == 0
