"""Counts the flushes of the device that holds a directory (Linux).

The kernel counts for the whole device, so what others do on it is counted too.
"""

from __future__ import annotations

import os
from pathlib import Path

TRIES = 20
_FLUSHES = 18
"""Where in a line of /proc/diskstats: three columns of names, fifteen numbers before it."""


def device_of(directory: Path, sys_block: Path = Path("/sys/dev/block")) -> str | None:
    """``major:minor`` of the whole device under ``directory``; None where there is none."""
    status = os.stat(directory)
    name = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    found = sys_block / name
    if not found.exists():
        return None
    if (found / "partition").exists():
        # Flushes are counted for the device, not for its partitions.
        return (found.resolve().parent / "dev").read_text(encoding="ascii").strip()
    return name


def flushes(device: str | None, stats: Path = Path("/proc/diskstats")) -> int | None:
    """How many flushes ``device`` has done since the start; None where that is not counted."""
    if device is None:
        return None
    try:
        lines = stats.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        columns = line.split()
        if ":".join(columns[:2]) == device:
            return int(columns[_FLUSHES]) if len(columns) > _FLUSHES else None
    return None


def countable(directory: Path, stats: Path = Path("/proc/diskstats")) -> str | None:
    """The device under ``directory`` if its count goes up with each sync; else None.

    It does not where the device has no cache to flush, or is a layer over another one.
    """
    device = device_of(directory)
    before = flushes(device, stats)
    path = directory / "sync-me"
    with path.open("wb", buffering=0) as file:
        for _ in range(TRIES):
            file.write(b"x")
            os.fsync(file.fileno())
    path.unlink()
    after = flushes(device, stats)
    if before is None or after is None or after - before < TRIES:
        return None
    return device
