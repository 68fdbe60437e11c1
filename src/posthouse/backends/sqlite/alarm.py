"""How the writer's thread sleeps: until a call is handed over, another process rings, or a time."""

from __future__ import annotations

import math
import os
import select
from typing import Final

from posthouse.backends.sqlite.bell import Bell

MOST_SLEEP_S: Final = 3600.0


class Alarm:
    """A pipe that any thread may wake the sleeper by.

    Attributes:
        asleep: it sleeps, or is about to: whoever hands something over has to wake it.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self.asleep = False

    def wake(self) -> None:
        """Wake the sleeper; from any thread."""
        try:
            os.write(self._write, b"\0")
        except OSError:
            pass  # it has been woken so often that the pipe is full; or it is gone

    def sleep(self, limit_s: float, bell: Bell) -> tuple[set[int], bool]:
        """Sleep so long at most: (the queues that were rung for, whether nothing happened)."""
        poller = select.poll()
        poller.register(self._read, select.POLLIN)
        if bell.fileno() >= 0:
            poller.register(bell.fileno(), select.POLLIN)
        ready = poller.poll(math.ceil(min(limit_s, MOST_SLEEP_S) * 1000))
        numbers: set[int] = set()
        for file, _ in ready:
            if file != self._read:
                numbers = bell.hear()
                continue
            try:
                os.read(self._read, 65536)
            except BlockingIOError:
                pass
        return numbers, not ready

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._read)
        os.close(self._write)
