"""SQLite's errors as posthouse's: who is to blame, and what to do."""

from __future__ import annotations

import sqlite3
from typing import Final

from posthouse.errors import (
    LogDamaged,
    LogUnreadable,
    PosthouseError,
    StorageFailed,
    StorageFull,
)

_PRIMARY: Final = 0xFF
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REFUSED: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)


def code_of(error: sqlite3.Error) -> int:
    """The primary result code; 0 where there is none."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another connection is at it, and trying again helps."""
    return code_of(error) in _LOCKED


def is_full(error: sqlite3.Error) -> bool:
    """Whether there is no room; nothing was changed."""
    return code_of(error) == sqlite3.SQLITE_FULL


def is_ours(error: sqlite3.Error) -> bool:
    """Whether a statement was wrong: posthouse's fault, and no harm to the database."""
    return not isinstance(error, sqlite3.OperationalError) and code_of(error) not in _DAMAGED


def explain(error: sqlite3.Error, path: str) -> PosthouseError:
    """What to raise for an error of the database at ``path``."""
    code = code_of(error)
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"{path}: the disk is full; nothing was changed")
    if code in _DAMAGED:
        return LogDamaged(path, 0, f"the database is damaged: {error}")
    if code in _REFUSED:
        return LogUnreadable(
            f"{path}: {error}; the file and its directory must be writable by this process"
        )
    return StorageFailed(f"{path}: {error}; open it again")
