"""The broker process of the demo's directory, seen from outside."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

from posthouse.backends.remote.shared.home import broker_status
from posthouse.cli.failures import CommandError
from posthouse.journal.holder import is_shared

LEAVES_S: Final = 10.0
LOOK_S: Final = 0.02


def kill_broker(directory: Path) -> int:
    """Kill it with SIGKILL; its process id.

    Raises:
        CommandError: there is none.
    """
    status = broker_status(str(directory))
    if status is None:
        raise CommandError(f"{directory} has no broker process")
    os.kill(status.pid, signal.SIGKILL)
    return status.pid


async def has_left(directory: Path) -> None:
    """Wait until the directory has no broker process any more, or for `LEAVES_S`."""
    for _ in range(int(LEAVES_S / LOOK_S)):
        if not is_shared(str(directory)):
            return
        await asyncio.sleep(LOOK_S)
