"""The facts of the machine that the numbers depend on. No names, no paths."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import sqlite3
from importlib import metadata
from pathlib import Path

from bench.model import Job
from bench.references.disk import INLINE


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def file_system(directory: Path) -> str:
    """The kind of file system that holds ``directory``: ``ext4``, ``tmpfs``, ``unknown``."""
    best, kind = "", "unknown"
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return kind
    here = str(directory.resolve()) + "/"
    for line in mounts:
        _device, point, found = line.split()[:3]
        if here.startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, found
    return kind


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def busy_warning(load: float, cores: int) -> str | None:
    """What to say when others are using the machine; ``None`` when they are not."""
    if load <= cores / 2:
        return None
    return (
        f"The machine was busy (load average {load:.1f} on {cores} cores before the run): "
        "these numbers are not to be relied on."
    )


def facts(directory: Path, loop: str) -> dict[str, str]:
    """Name and value of each fact, in the order to show them; measures the bare fdatasync.

    ``warning`` is there only when there is something to warn of.
    """
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    sync_us = asyncio.run(_sync_us(directory))
    versions = ("lmdb", "persist-queue", "huey", "litequeue", "culsans", "janus")
    warning = busy_warning(load, _cores())
    if file_system(directory) in ("tmpfs", "ramfs"):
        warning = "The data was kept in memory, not on a disk: rows D1 to D3 mean nothing."
    return {
        **({"warning": warning} if warning else {}),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "posthouse": _version("posthouse"),
        "cores": str(_cores()),
        "CPU": _cpu_model(),
        "system": f"{platform.system()} {platform.release()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "event loop": f"uvloop {_version('uvloop')}" if loop == "uvloop" else "asyncio",
        "file system": file_system(directory),
        "bare write + fdatasync, p50": f"{sync_us:,.0f} us (1 KiB, inline, growing file)",
        "load average before the run": f"{load:.1f}",
        "SQLite": sqlite3.sqlite_version,
        "others": ", ".join(f"{name} {_version(name)}" for name in versions),
    }


async def _sync_us(directory: Path) -> float:
    return await INLINE.work(Job(1024, 0.5, directory))
