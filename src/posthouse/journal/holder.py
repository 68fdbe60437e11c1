"""Who has a log's directory, and whether it is shared.

A shared directory has a folder ``.shared``; the broker process that owns the log holds a lock on a
file in there for as long as it lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import Final

from posthouse.errors import AlreadyOpen
from posthouse.journal.format import LOCK_NAME

SHARED_FOLDER: Final = ".shared"
BROKER_LOCK: Final = "broker.lock"


def is_shared(directory: str) -> bool:
    """Whether a broker process has the directory at the moment."""
    try:
        fd = os.open(
            os.path.join(directory, SHARED_FOLDER, BROKER_LOCK),
            os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW,
        )
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False


def taken(directory: str, error: AlreadyOpen, *, shared: bool | None = None) -> AlreadyOpen:
    """The same error, saying since when, and how to share the directory.

    ``shared``: whether who has it shares it; None: find out.
    """
    since = ""
    with contextlib.suppress(OSError):
        since = clock_text(os.stat(os.path.join(directory, LOCK_NAME)).st_mtime)
    if is_shared(directory) if shared is None else shared:
        advice = "that is its broker process, which shares it: open it with share=True here too"
    else:
        advice = "close it there first, or share it: posthouse.open(..., share=True) on both sides"
    return AlreadyOpen(directory, error.pid, since=since, advice=advice)


def clock_text(at_s: float) -> str:
    """A time, seconds since the epoch, as the clock on the wall shows it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
