"""Looking at a shared directory from outside."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Final

import posthouse
from posthouse.backends.remote.shared.home import Status, broker_status
from posthouse.journal.holder import is_shared

PATIENCE_S: Final = 60.0
LINGER_S: Final = 0.3


def share(directory: Path, **options: Any) -> posthouse.Broker:
    """The broker of a directory, with a broker process that does not stay for long."""
    return posthouse.open(str(directory), share=True, **{"linger_s": LINGER_S, **options})


def status_of(directory: Path) -> Status:
    """What its broker process says about itself, which must be there."""
    status = broker_status(str(directory))
    assert status is not None
    return status


def kill(directory: Path) -> int:
    """Kill its broker process; which one it was."""
    pid = status_of(directory).pid
    os.kill(pid, signal.SIGKILL)
    return pid


async def nobody(directory: Path) -> None:
    """Wait until it has no broker process."""
    async with asyncio.timeout(PATIENCE_S):
        while is_shared(str(directory)):
            await asyncio.sleep(0.01)


def log_of(directory: Path) -> str:
    """What its broker processes logged."""
    return (directory / ".shared" / "broker.log").read_text()


def served(directory: Path) -> int:
    """How many broker processes have served it."""
    return log_of(directory).count(" serving log:")
