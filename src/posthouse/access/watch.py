"""Noticing that files have changed, by looking every so often, off the loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

LOOK_EVERY_S: Final = 5.0

Signature: TypeAlias = "tuple[tuple[int, ...] | None, ...]"

logger = logging.getLogger("posthouse.access")


class FileWatch:
    """Calls ``reload`` when one of the files is another than before, or when `now` says so.

    What ``reload`` raises is logged and keeps the old state; it is called again at the next change.
    Two never run at a time. Looking costs a stat of each file (links followed, so that a mounted
    secret that is swapped by its link is seen).
    """

    def __init__(
        self,
        what: str,
        paths: Sequence[str],
        reload: Callable[[], Awaitable[None]],
        every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._what = what
        self._paths = tuple(paths)
        self._reload = reload
        self._every_s = every_s
        self._asked = asyncio.Event()
        self._seen: Signature = ()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look. What the files are now counts as loaded."""
        self._seen = await self._look()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def now(self) -> None:
        """Reload, whether anything changed or not; for SIGHUP."""
        self._asked.set()

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._every_s):
                    await self._asked.wait()
            except TimeoutError:
                pass
            await self._step()

    async def _step(self) -> None:
        asked = self._asked.is_set()
        self._asked.clear()
        seen = await self._look()
        if seen == self._seen and not asked:
            return
        self._seen = seen
        try:
            await self._reload()
        except Exception as error:
            logger.error("%s could not be reloaded, the old stays in use: %s", self._what, error)
        else:
            logger.info("%s reloaded", self._what)

    async def _look(self) -> Signature:
        return await asyncio.to_thread(signature, self._paths)

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None


def signature(paths: Sequence[str]) -> Signature:
    """What tells the files' states apart: device, inode, size, times; None for one that is gone."""
    found: list[tuple[int, ...] | None] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append(
                (
                    status.st_dev,
                    status.st_ino,
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                )
            )
    return tuple(found)
