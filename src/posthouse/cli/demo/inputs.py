"""The demo's input: the standard library of this Python, or the user's own files."""

from __future__ import annotations

import glob
import os
import sysconfig
from pathlib import Path
from typing import Final

from posthouse.cli.failures import CommandError
from posthouse.model import MAX_BODY_BYTES

_NOT_STDLIB: Final = frozenset({"site-packages", "dist-packages", "__pycache__"})


def standard_library() -> list[str]:
    """The ``.py`` files of the standard library, sorted.

    Raises:
        CommandError: there are none (a Python that keeps them in an archive).
    """
    root = sysconfig.get_paths()["stdlib"]
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in _NOT_STDLIB]
        files += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    if not files:
        raise CommandError(f"no source of the standard library in {root}; use --files PATTERN")
    return sorted(files)


def matching(pattern: str) -> list[str]:
    """The files that a glob pattern (with ``**``) matches, sorted, as absolute paths.

    Raises:
        CommandError: it matches no file.
    """
    expanded = os.path.expanduser(pattern)
    found = {os.path.abspath(path) for path in glob.iglob(expanded, recursive=True)}
    files = sorted(path for path in found if os.path.isfile(path))
    if not files:
        raise CommandError(f"no file matches {pattern!r}")
    return files


def fitting(files: list[str]) -> tuple[list[str], int]:
    """The files that fit a message, and how many do not."""
    fit = [path for path in files if _size(path) <= MAX_BODY_BYTES]
    return fit, len(files) - len(fit)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0  # counted as a file that cannot be read
