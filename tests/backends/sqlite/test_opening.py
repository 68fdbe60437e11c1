"""What a URL names, and which files are opened at all."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import posthouse
from posthouse.backends.sqlite.opening import path_of
from posthouse.backends.sqlite.schema import APPLICATION_ID, VERSION
from posthouse.errors import BadArgument, LogUnreadable
from tests.backends.sqlite.places import opened


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("///q.db", "q.db"),
        ("////srv/q.db", "/srv/q.db"),
        ("q.db", "q.db"),
        ("./data/q.db", "./data/q.db"),
        ("/srv/q.db", "/srv/q.db"),
    ],
)
def test_urls(rest: str, path: str) -> None:
    assert path_of(rest) == path


@pytest.mark.parametrize("rest", ["", "///", "//host/q.db", ":memory:", "q\0.db", "dir/"])
def test_urls_that_name_no_file(rest: str) -> None:
    with pytest.raises(BadArgument):
        path_of(rest)


def test_connecting_touches_nothing(tmp_path: Path) -> None:
    opened(tmp_path / "q.db")
    assert list(tmp_path.iterdir()) == []


async def test_closing_leaves_one_file(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as broker:
        await broker.queue("q").put(1)
        assert len(list(tmp_path.iterdir())) > 1
    assert [path.name for path in tmp_path.iterdir()] == ["q.db"]
    with closing(sqlite3.connect(tmp_path / "q.db")) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def _snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


@pytest.mark.parametrize("wal", [False, True])
async def test_a_foreign_database_is_refused_untouched(tmp_path: Path, wal: bool) -> None:
    path = tmp_path / "q.db"
    with closing(sqlite3.connect(path)) as db:
        if wal:
            db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE message (id INTEGER)")
        db.execute("INSERT INTO message VALUES (1)")
        db.commit()
    before = path.read_bytes()
    with pytest.raises(LogUnreadable, match="another application"):
        await opened(path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if "posthouse" in each.name] == []


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0", b"\0" * 5000])
async def test_what_is_no_database_is_refused_untouched(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "q.db"
    path.write_bytes(content)
    before = _snapshot(tmp_path)
    with pytest.raises(LogUnreadable, match="nothing was touched"):
        await opened(path)
    assert _snapshot(tmp_path) == before


async def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        await broker.queue("q").put(1)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    before = _snapshot(tmp_path)
    with pytest.raises(LogUnreadable, match=f"has version {VERSION + 1}"):
        await opened(path)
    assert _snapshot(tmp_path) == before
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={VERSION}")
    async with opened(path) as broker:
        assert (await broker.queue("q").get(timeout=0)).body == 1


async def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    path.touch()
    async with opened(path) as broker:
        await broker.queue("q").put(1)
    assert path.stat().st_size > 0


async def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(LogUnreadable, match="is not there"):
        await opened(tmp_path / "missing" / "q.db")
    with pytest.raises(LogUnreadable, match="is a directory"):
        await opened(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_directory_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir(mode=0o500)
    with pytest.raises(LogUnreadable, match="writable"):
        await opened(tmp_path / "q" / "q.db")


async def test_a_damaged_database(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        await broker.queue("q").put_many([b"x" * 1000] * 200)
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(posthouse.LogDamaged):
        async with opened(path) as broker:
            await broker.queue("q").get_many(1000, timeout=0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1"])
def test_a_lock_timeout_that_is_none(tmp_path: Path, seconds: float) -> None:
    with pytest.raises(BadArgument):
        opened(tmp_path / "q.db", lock_timeout_s=seconds)
