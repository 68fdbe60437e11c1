"""Opening the database: whose it is, which version, and how it is used."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from posthouse.backends.sqlite import fields
from posthouse.backends.sqlite.schema import APPLICATION_ID, UPGRADES, VERSION
from posthouse.backends.sqlite.trouble import explain, is_locked
from posthouse.errors import BadArgument, LogUnreadable, StorageFailed

T = TypeVar("T")

CHECKPOINT_PAGES: Final = 2_000
WAL_BYTES: Final = 64 * 1024 * 1024
CACHE_KIB: Final = 16_384
LONGEST_PAUSE_S: Final = 0.02
_MAGIC: Final = b"SQLite format 3\0"


def path_of(rest: str) -> str:
    """The file that a URL names, after its ``sqlite:``.

    ``///q.db`` is relative and ``////srv/q.db`` absolute, as in SQLAlchemy; so is a plain path.

    Raises:
        BadArgument: it names none.
    """
    path = rest[3:] if rest.startswith("///") else rest
    if rest.startswith("//") and not rest.startswith("///"):
        raise BadArgument(
            f"'sqlite:{rest}' names a host; write sqlite:///q.db, sqlite:////srv/q.db or "
            "sqlite:q.db"
        )
    if path == ":memory:":
        raise BadArgument("a database in memory cannot be shared; use 'memory:'")
    if not path or "\0" in path or path.endswith("/"):
        raise BadArgument("give the database's file, as in sqlite:///q.db or sqlite:q.db")
    return path


def patiently(
    call: Callable[[], T], path: str, timeout_s: float, who: Callable[[], str] = lambda: ""
) -> T:
    """The call's answer, tried again while another connection has the database locked.

    Raises:
        StorageFailed: it was locked all the time; nothing was changed.
    """
    until = time.monotonic() + timeout_s
    pause_s = 0.0005
    while True:
        try:
            return call()
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
            if time.monotonic() >= until:
                raise StorageFailed(
                    f"{path} was locked for {timeout_s:g} seconds by another process{who()}; "
                    "nothing was changed"
                ) from error
        time.sleep(pause_s * (0.5 + random.random() / 2))
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


def open_database(path: str, lock_timeout_s: float) -> sqlite3.Connection:
    """A connection that may write, to a database that is made or brought to this version.

    Raises:
        LogUnreadable: it is somebody else's, of a newer version, or may not be used.
        StorageFull, StorageFailed, LogDamaged: see `posthouse.errors`.
    """
    _check_place(path)
    _check_header(path)
    try:
        if os.path.exists(path) and os.path.getsize(path):
            _check_foreign(path, lock_timeout_s)
        db = _connect(path)
        try:
            _settings(db, path, lock_timeout_s)
            patiently(lambda: _upgrade(db, path), path, lock_timeout_s)
            fields.prepare(db)
        except BaseException:
            db.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path) from error
    return db


def open_reader(path: str) -> sqlite3.Connection:
    """A connection that only looks."""
    db = _connect(path)
    db.execute("PRAGMA query_only=1")
    db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    fields.prepare(db)
    return db


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def _check_place(path: str) -> None:
    directory = Path(path).parent
    if not directory.is_dir():
        raise LogUnreadable(f"{path}: the directory {str(directory)!r} is not there; make it first")
    if os.path.isdir(path):
        raise LogUnreadable(f"{path} is a directory; give a file, or open it as a log")
    wanted = path if os.path.exists(path) else directory
    if not os.access(wanted, os.W_OK) or not os.access(directory, os.W_OK):
        raise LogUnreadable(f"{path}: the file and its directory must be writable by this process")


def _check_header(path: str) -> None:
    # By hand first: opening what is not ours must not leave a byte, or a file beside it.
    try:
        with open(path, "rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return
    except OSError as error:
        raise LogUnreadable(f"{path}: {error.strerror}") from error
    if not header:
        return
    if len(header) < 100 or not header.startswith(_MAGIC):
        raise LogUnreadable(f"{path} is not an SQLite database; nothing was touched")
    version = int.from_bytes(header[60:64])
    application = int.from_bytes(header[68:72])
    if application not in (0, APPLICATION_ID):
        raise LogUnreadable(f"{path} is another application's database; nothing was touched")
    if application == APPLICATION_ID:
        _check_version(path, version)


def _check_version(path: str, version: int) -> None:
    if version > VERSION:
        raise LogUnreadable(
            f"{path} has version {version}, this posthouse knows {VERSION}: use the newer posthouse"
        )


def _check_foreign(path: str, lock_timeout_s: float) -> None:
    """What the header does not tell, because it is in the WAL yet, or is nobody's number."""
    db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=0)
    try:
        found = patiently(
            lambda: (
                db.execute("PRAGMA application_id").fetchone()[0],
                db.execute("PRAGMA user_version").fetchone()[0],
                db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0],
            ),
            path,
            lock_timeout_s,
        )
    finally:
        db.close()
    application, version, tables = found
    if tables and application != APPLICATION_ID:
        raise LogUnreadable(f"{path} is another application's database; nothing was touched")
    _check_version(path, version)


def _settings(db: sqlite3.Connection, path: str, lock_timeout_s: float) -> None:
    (mode,) = patiently(
        lambda: db.execute("PRAGMA journal_mode=WAL").fetchone(), path, lock_timeout_s
    )
    if mode != "wal":
        raise LogUnreadable(
            f"{path}: its file system has no shared memory for SQLite's WAL (mode {mode!r}); "
            "put it on a local disk"
        )
    for setting in (
        "synchronous=FULL",
        f"wal_autocheckpoint={CHECKPOINT_PAGES}",
        f"journal_size_limit={WAL_BYTES}",
        f"cache_size=-{CACHE_KIB}",
        "temp_store=MEMORY",
    ):
        db.execute(f"PRAGMA {setting}")


def _upgrade(db: sqlite3.Connection, path: str) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        _check_version(path, version)
        for step in range(version, VERSION):
            for statement in UPGRADES[step]:
                db.execute(statement)
        if version < VERSION:
            db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            db.execute(f"PRAGMA user_version={VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
