"""A directory that a tool fills: new or empty, apart from the source, and never taken for a log
before it is one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

from posthouse.errors import AlreadyOpen, BadArgument
from posthouse.journal.directory import path_in, write_format
from posthouse.journal.files import Files
from posthouse.journal.format import LOCK_NAME

UNFINISHED_NAME: Final = "UNFINISHED"
"""While this file is there and FORMAT is not, a broker refuses the directory."""

_UNFINISHED_TEXT: Final = b"a posthouse tool is filling this directory, or was interrupted in it\n"


def begin_target(files: Files, target: str, source: str) -> None:
    """Make ``target``, or take it if it is empty, and mark it as unfinished.

    Raises:
        BadArgument: it is not empty, or not apart from ``source``.
    """
    check_apart(target, source)
    try:
        names = [name for name in files.listdir(target) if name != "lost+found"]
    except FileNotFoundError:
        names = []
    except NotADirectoryError as error:
        raise BadArgument(f"{target} is a file; give a directory that is new or empty") from error
    if UNFINISHED_NAME in names:
        raise BadArgument(
            f"{target} holds what an interrupted run left there; remove it and run this again"
        )
    if names:
        raise BadArgument(
            f"{target} is not empty: it holds {names[0]!a}; give a directory that is new or empty"
        )
    make_directory(files, target)
    write_whole(files, path_in(target, UNFINISHED_NAME), _UNFINISHED_TEXT)
    files.fsync_dir(target)


def finish_target(files: Files, target: str) -> None:
    """All files are there and synced: make the directory a log."""
    files.fsync_dir(target)
    write_format(files, target)
    files.unlink(path_in(target, UNFINISHED_NAME))
    files.fsync_dir(target)


def check_apart(target: str, source: str) -> None:
    """Check that neither directory is in the other.

    Raises:
        BadArgument: one is.
    """
    here, there = os.path.realpath(target), os.path.realpath(source)
    if here == there:
        raise BadArgument(f"{target} is the log itself; give another directory")
    if os.path.commonpath([here, there]) in (here, there):
        inner, outer = (target, source) if here.startswith(there) else (source, target)
        raise BadArgument(f"{inner} is inside {outer}; give a directory apart from it")


def make_directory(files: Files, path: str) -> None:
    """Make a directory whose name survives a crash; one that exists is fine."""
    files.mkdir(path)
    files.fsync_dir(os.path.dirname(os.path.realpath(path)) or os.sep)


def write_whole(files: Files, path: str, data: bytes) -> None:
    """Write a new file; its content is on disk on return (its name only with the directory)."""
    fd = files.open(path, create=True)
    try:
        files.truncate(fd, 0)
        files.pwrite(fd, data, 0)
        files.fsync(fd)
    finally:
        files.close(fd)


@contextlib.contextmanager
def held_still(files: Files, directory: str) -> Iterator[None]:
    """Keep brokers from opening the log meanwhile. Nothing is written to do so.

    Raises:
        AlreadyOpen: a broker has it open.
    """
    if LOCK_NAME not in files.listdir(directory):
        yield  # no broker ever opened it
        return
    fd = files.open(path_in(directory, LOCK_NAME))
    try:
        if not files.flock(fd):
            text = files.pread(fd, 32, 0).split(b"\n")[0]
            raise AlreadyOpen(directory, int(text) if text.isdigit() else None)
        yield
    finally:
        files.close(fd)
