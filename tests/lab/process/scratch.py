"""Where logs are made that only a process may die on: in memory, if the machine has such a place.

The page cache survives what these parts do to a process, so the disk below it says nothing; but
its syncs would be most of their time.
"""

from __future__ import annotations

import os
import tempfile
from typing import Final

MEMORY: Final = "/dev/shm"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A fresh directory, removed at the end of its context."""
    usable = os.access(MEMORY, os.W_OK | os.X_OK)
    return tempfile.TemporaryDirectory(prefix="posthouse-lab-", dir=MEMORY if usable else None)
