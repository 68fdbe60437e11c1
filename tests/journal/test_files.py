"""The real file system's calls, against an operating system that does half of what it is asked."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.journal.files import RealFiles
from posthouse.testing.files import FaultyFiles, Operation, RecordingFiles


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    files = RealFiles()
    handle = files.open(str(tmp_path / "file"), create=True)
    yield handle
    files.close(handle)


DATA = bytes(range(256)) * 5


@pytest.mark.parametrize("most", [1, 7, 1279])
def test_short_writes_go_on_until_whole(
    fd: int, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, bytes(data)[:most], at))
    RealFiles().pwrite(fd, DATA, 10)
    assert os.pread(fd, 2000, 10) == DATA


@pytest.mark.parametrize("most", [0, 1, 300, 1279])
def test_a_short_synced_write_is_completed_and_synced(
    fd: int, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    synced: list[int] = []
    real_sync = os.fdatasync

    def short(fd: int, parts: list[bytes], at: int, flags: int = 0) -> int:
        return os.pwrite(fd, b"".join(parts)[:most], at)

    def sync(fd: int) -> None:
        # All of it must be there before the sync, or the rest is not covered.
        synced.append(len(os.pread(fd, 5000, 0)))
        real_sync(fd)

    monkeypatch.setattr(os, "pwritev", short)
    monkeypatch.setattr(os, "fdatasync", sync)
    RealFiles().pwritev_sync(fd, [DATA[:100], DATA[100:1000], DATA[1000:]], 0)
    assert os.pread(fd, 2000, 0) == DATA
    assert synced == [len(DATA)]


@pytest.mark.parametrize("missing", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, None])
def test_a_kernel_without_synced_writes_gets_a_write_and_a_sync(
    fd: int, monkeypatch: pytest.MonkeyPatch, missing: int | None
) -> None:
    calls: list[str] = []
    real_sync = os.fdatasync

    def refuse(fd: int, parts: list[bytes], at: int, flags: int = 0) -> int:
        calls.append("pwritev")
        raise NotImplementedError if missing is None else OSError(missing, "no such flag")

    def sync(fd: int) -> None:
        calls.append(f"sync of {len(os.pread(fd, 5000, 0))}")
        real_sync(fd)

    monkeypatch.setattr(os, "pwritev", refuse)
    monkeypatch.setattr(os, "fdatasync", sync)
    files = RealFiles()
    files.pwritev_sync(fd, [DATA[:100], DATA[100:]], 0)
    files.pwritev_sync(fd, [DATA], 1280)
    assert os.pread(fd, 5000, 0) == DATA * 2
    assert calls == ["pwritev", "sync of 1280", "sync of 2560"]  # it is asked once


def test_other_errors_of_a_synced_write_are_errors(
    fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(fd: int, parts: list[bytes], at: int, flags: int = 0) -> int:
        raise OSError(errno.EIO, "gone")

    monkeypatch.setattr(os, "pwritev", fail)
    files = RealFiles()
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            files.pwritev_sync(fd, [DATA], 0)
    assert os.pread(fd, 10, 0) == b""


def test_a_write_that_writes_nothing_is_an_error(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: 0)
    with pytest.raises(OSError, match="wrote nothing") as failed:
        RealFiles().pwrite(fd, DATA, 0)
    assert failed.value.errno == errno.EIO


def test_short_reads_go_on_until_whole(fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    os.pwrite(fd, DATA, 0)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 100), at))
    assert RealFiles().pread(fd, len(DATA), 0) == DATA
    assert RealFiles().pread(fd, 5000, 1000) == DATA[1000:]


def test_more_parts_than_the_system_takes(fd: int) -> None:
    RealFiles().pwritev_sync(fd, [b"ab"] * 3000, 0)
    assert os.pread(fd, 10_000, 0) == b"ab" * 3000


def test_no_symbolic_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        RealFiles().open(str(tmp_path / "link"), create=True)
    assert not (tmp_path / "target").exists()


def test_faults_come_when_they_are_due(tmp_path: Path) -> None:
    files = FaultyFiles(2, errno.ENOSPC, short=True, names=frozenset({"pwrite"}))
    fd = files.open(str(tmp_path / "file"), create=True)
    files.pwrite(fd, b"whole", 0)
    with pytest.raises(OSError, match="file") as failed:
        files.pwrite(fd, b"halfhalf", 5)
    assert failed.value.errno == errno.ENOSPC
    assert files.failed == Operation("pwrite", str(tmp_path / "file"), 5, b"halfhalf")
    files.pwrite(fd, b"!", 9)
    files.close(fd)
    assert (tmp_path / "file").read_bytes() == b"wholehalf!"


def test_a_recording_is_enough_to_do_it_again(tmp_path: Path) -> None:
    files = RecordingFiles()
    name = str(tmp_path / "a")
    fd = files.open(name, create=True)
    files.pwrite(fd, b"one", 0)
    files.rename(name, name + "b")
    files.pwritev_sync(fd, [b"t", b"wo"], 3)
    files.fsync_dir(str(tmp_path))
    files.truncate(fd, 4)
    files.close(fd)
    assert files.operations == [
        Operation("create", name),
        Operation("pwrite", name, 0, b"one"),
        Operation("rename", name, target=name + "b"),
        Operation("pwritev_sync", name + "b", 3, b"two"),
        Operation("fsync_dir", str(tmp_path)),
        Operation("truncate", name + "b", 4),
    ]
