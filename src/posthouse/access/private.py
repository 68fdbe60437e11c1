"""Files that hold secrets: read only if nobody else can, replaced whole, never half written."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from typing import Final

from posthouse.errors import AccessFileError

OWNER_ONLY: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_NOT_ROOTS_GROUP: Final = stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO


def read_private(path: str, what: str, most_bytes: int) -> bytes:
    """The bytes of a file that nobody but its owner can read.

    The owner is this process's user; or root, and then its group may read, as a mounted secret or
    a key of the system has it. Symbolic links are followed; what is checked is what was opened.

    Raises:
        AccessFileError: it is not there, not a file, open to others, or larger than allowed.
    """
    return _read(path, what, most_bytes, private=True)


def read_public(path: str, what: str, most_bytes: int) -> bytes:
    """The bytes of a file that others may read but only its owner or root may have written.

    Raises:
        AccessFileError: as `read_private`.
    """
    return _read(path, what, most_bytes, private=False)


def _read(path: str, what: str, most_bytes: int, *, private: bool) -> bytes:
    if "\0" in path or not path:
        raise AccessFileError(ascii(path), f"this is no path for {what}")
    try:
        # Not blocking: opening a FIFO would wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise AccessFileError(path, f"{what} cannot be opened: {error.strerror}") from error
    try:
        _check(os.fstat(descriptor), path, what, private=private)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(most_bytes + 1)
    except OSError as error:
        raise AccessFileError(path, f"{what} cannot be read: {error.strerror}") from error
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise AccessFileError(path, f"{what} is larger than {most_bytes:,} bytes")
    return data


def _check(status: os.stat_result, path: str, what: str, *, private: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise AccessFileError(path, f"{what} is not a regular file")
    if not hasattr(os, "geteuid"):
        return  # not POSIX: modes say nothing there
    if status.st_uid not in (os.geteuid(), 0):
        raise AccessFileError(
            path, f"{what} belongs to user {status.st_uid}, not to this process's; chown it"
        )
    mode = stat.S_IMODE(status.st_mode)
    if private:
        if mode & (_NOT_ROOTS_GROUP if status.st_uid == 0 else _OTHERS):
            raise AccessFileError(
                path, f"{what} is open to others (mode {mode:04o}); do: chmod 600 {path}"
            )
    elif mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise AccessFileError(
            path, f"{what} can be changed by others (mode {mode:04o}); do: chmod go-w {path}"
        )


def write_private(path: str, data: bytes) -> None:
    """Replace a file, or make it, readable by its owner only; whole or not at all, also in a crash.

    A symbolic link stays one: what it leads to is replaced.

    Raises:
        AccessFileError: it cannot be written; the old one is as it was.
    """
    path = os.path.realpath(path)
    directory = os.path.dirname(path)
    temporary = f"{path}.{secrets.token_hex(8)}.new"
    try:
        _write_new(temporary, data)
        try:
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(directory)
    except OSError as error:
        raise AccessFileError(path, f"it cannot be written: {error.strerror}") from error


def _write_new(path: str, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, OWNER_ONLY)
    try:
        with open(descriptor, "wb") as file:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, OWNER_ONLY)  # whatever the umask left
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _sync_directory(directory: str) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock beside the file: who changes it does so one after the other.

    Raises:
        AccessFileError: the lock cannot be had because the directory cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not POSIX: the last writer wins
        yield
        return
    lock = f"{os.path.realpath(path)}.lock"
    try:
        descriptor = os.open(
            lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, OWNER_ONLY
        )
    except OSError as error:
        why = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise AccessFileError(lock, f"the lock cannot be opened: {why}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
