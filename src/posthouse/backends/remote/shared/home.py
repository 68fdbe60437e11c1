"""Where the broker process of a shared directory lives: ``.shared`` in it, for its owner only.

socket          where it listens
broker.lock     locked by it for as long as it lives
starting.lock   locked by the client that starts it, until it is there
broker.json     what it says about itself
broker.log      its log, and broker.log.1, the one before
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import sys
from typing import Final

import msgspec

from posthouse.errors import BadArgument, LogUnreadable, StorageFull
from posthouse.journal.holder import BROKER_LOCK, SHARED_FOLDER, is_shared

SOCKET: Final = "socket"
STARTING_LOCK: Final = "starting.lock"
STATUS: Final = "broker.json"
LOG: Final = "broker.log"
MOST_PATH_BYTES: Final = 100
"""What a socket's path may have on every system (Linux: 107, macOS: 103)."""
_BY_DESCRIPTOR: Final = "/proc/self/fd"


class Status(msgspec.Struct, frozen=True):
    """What a broker process says about itself.

    Attributes:
        pid: the process.
        version: of posthouse.
        since_s: when it began to serve, seconds since the epoch.
        clients: how many are connected, at the last look.
    """

    pid: int
    version: str
    since_s: float
    clients: int = 0


class Home:
    """The folder of one directory, held open so that it is found again wherever it is moved.

    Attributes:
        directory: the shared directory, as an absolute path.
        folder: the path of the folder in it.
    """

    def __init__(self, directory: str) -> None:
        self.directory = os.path.abspath(directory)
        self.folder = os.path.join(self.directory, SHARED_FOLDER)
        self._fd = -1
        self._identity = (0, 0)

    def open(self) -> None:
        """Make the folder if it is not there, and hold it.

        Raises:
            LogUnreadable: it cannot be made or used.
            StorageFull: there is no room for it.
        """
        if self._fd >= 0:
            return
        try:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.folder, 0o700)
            found = os.stat(self.directory)
            fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise self._explained(error) from error
        try:
            self._check_mine(fd)
        except BaseException:
            os.close(fd)
            raise
        self._identity = (found.st_dev, found.st_ino)
        self._fd = fd

    def _check_mine(self, fd: int) -> None:
        folder = os.fstat(fd)
        if folder.st_uid != os.geteuid() and os.geteuid() != 0:
            raise LogUnreadable(
                f"{self.folder} belongs to user {folder.st_uid}; a directory is shared by "
                "programs of one user (for others: posthouse serve)"
            )
        if stat.S_IMODE(folder.st_mode) & 0o077:
            try:
                os.fchmod(fd, 0o700)
            except OSError as error:
                raise self._explained(error) from error

    def _explained(self, error: OSError) -> LogUnreadable | StorageFull:
        text = f"{error.filename or self.folder}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StorageFull(text)
        return LogUnreadable(text)

    def close(self) -> None:
        """Let go of the folder."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def moved(self) -> bool:
        """Whether the directory is no longer at its path."""
        try:
            found = os.stat(self.directory)
        except OSError:
            return True
        return (found.st_dev, found.st_ino) != self._identity

    def check(self) -> None:
        """Raise LogUnreadable if the directory is no longer at its path."""
        if self.moved():
            raise LogUnreadable(
                f"{self.directory}: the directory was moved or removed while it was open; "
                "open it where it is now"
            )

    def path(self, name: str) -> str:
        """The path of a file in the folder."""
        return os.path.join(self.folder, name)

    def socket_path(self) -> str:
        """A path of the socket that is short enough; valid as long as the folder is held.

        Raises:
            BadArgument: there is none.
        """
        path = self.path(SOCKET)
        if len(os.fsencode(path)) <= MOST_PATH_BYTES:
            return path
        if sys.platform == "linux" and os.path.isdir(_BY_DESCRIPTOR):
            return f"{_BY_DESCRIPTOR}/{self._fd}/{SOCKET}"
        raise BadArgument(
            f"{self.directory}: the path is too long for a socket in it "
            f"({len(os.fsencode(path))} bytes of {MOST_PATH_BYTES}); give a shorter one, for "
            "instance of a symbolic link"
        )

    def lock(self, name: str) -> int | None:
        """The descriptor of a lock that was taken (see `unlock`), or None: somebody has it.

        Raises:
            LogUnreadable, StorageFull: its file cannot be made or opened.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self._fd)
        except OSError as error:
            raise self._explained(error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return fd

    def take_broker_lock(self) -> int | None:
        """`lock` for the broker process itself."""
        return self.lock(BROKER_LOCK)

    def answers(self) -> bool:
        """Whether somebody listens at the socket."""
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.setblocking(False)
            try:
                probe.connect(self.socket_path())
            except BlockingIOError:
                return True  # so many want to come that the line is full
            except OSError:
                return False
        return True

    def read_status(self) -> Status | None:
        """What the broker process said last; None if there is none, or it is not legible."""
        try:
            with open(self.path(STATUS), "rb") as file:
                return msgspec.json.decode(file.read(4096), type=Status)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def write_status(self, status: Status) -> None:
        """Say it. A disk that has no room for it is no reason to fail."""
        path = self.path(STATUS)
        with contextlib.suppress(OSError):
            with open(f"{path}.tmp", "wb") as file:
                file.write(msgspec.json.encode(status) + b"\n")
            os.replace(f"{path}.tmp", path)

    def remove_status(self) -> None:
        """Nobody serves any more."""
        with contextlib.suppress(OSError):
            os.unlink(self.path(STATUS))


def broker_status(directory: str) -> Status | None:
    """What the directory's broker process says about itself; None if it has none now."""
    return Home(directory).read_status() if is_shared(directory) else None


def unlock(fd: int) -> None:
    """Let go of a lock."""
    # Explicitly: a child that was forked meanwhile has the descriptor too, and with it the lock.
    with contextlib.suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)
