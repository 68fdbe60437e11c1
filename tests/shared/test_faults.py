"""What can be wrong with a shared directory, and what is said then."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import posthouse
from posthouse.backends.remote.shared.home import Home, Status, unlock
from posthouse.errors import (
    BadArgument,
    BrokerUnreachable,
    LogDamaged,
    LogUnreadable,
    ProtocolError,
    StorageFull,
    UnknownOutcome,
)
from posthouse.wire.answers import Refused
from posthouse.wire.connection import encode
from tests.shared.places import kill, nobody, share, status_of

NOBODY = 65534


async def test_a_long_path(tmp_path: Path) -> None:
    data = tmp_path / ("long" * 40) / "data"
    data.parent.mkdir()
    async with share(data) as broker:
        await broker.queue("q").put(1)
        kill(data)
        await asyncio.wait_for(broker.queue("q").put(2), 30)
        async with share(data) as other:
            assert (await other.queue("q").stats()).waiting == 2


async def test_a_long_path_where_there_is_no_way_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(BadArgument, match="too long for a socket"):
        await share(tmp_path / ("long" * 40))


async def test_a_directory_that_is_moved_away_is_missed(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    async with share(data, linger_s=60.0) as broker:
        await broker.queue("q").put(1)
        data.rename(elsewhere)
        with pytest.raises((BrokerUnreachable, UnknownOutcome), match="moved or removed"):
            async with asyncio.timeout(60):
                while True:
                    await broker.queue("q").put(2)
    assert not data.exists()
    await nobody(elsewhere)
    async with share(elsewhere) as broker:
        assert (await broker.queue("q").get()).body == 1


async def test_a_directory_that_is_removed_is_missed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with share(data) as broker:
        shutil.rmtree(data)
        with pytest.raises((BrokerUnreachable, UnknownOutcome), match="moved or removed"):
            async with asyncio.timeout(60):
                while True:
                    await broker.queue("q").put(2)
    assert not data.exists()


async def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("mine")
    with pytest.raises(LogUnreadable, match="data"):
        await share(tmp_path / "data")


async def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    (data / ".shared").symlink_to(elsewhere)
    with pytest.raises(LogUnreadable, match=r"\.shared"):
        await share(data)
    assert list(elsewhere.iterdir()) == []


async def test_a_foreign_directory_is_refused_by_the_broker(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(LogUnreadable, match=r"thesis\.tex"):
        await share(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


async def test_damage_is_told_with_its_place(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with posthouse.open(str(data), segment_bytes=64 * 1024) as broker:
        for number in range(30):
            await broker.queue("q").put(b"x" * 5000 + b"%d" % number)
    missing = sorted(data.glob("*.seg"))[-2]
    missing.unlink()
    with pytest.raises(LogDamaged, match="the segment is missing") as caught:
        await share(data)
    assert (caught.value.path, caught.value.offset) == (str(missing), 0)
    await nobody(data)


def as_nobody(directory: Path) -> int:
    """Open it as an unprivileged user, in a process of its own; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            asyncio.run(_refused(directory))
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


async def _refused(directory: Path) -> None:
    with pytest.raises(LogUnreadable, match="[Pp]ermission denied"):
        await share(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
def test_no_permission(tmp_path: Path) -> None:
    data = tmp_path / "data"
    asyncio.run(_used(data))
    for each in (data, tmp_path, *tmp_path.parents[:3]):
        each.chmod(0o755)
    assert as_nobody(data) == 0
    assert as_nobody(tmp_path / "new") == 0


async def _used(data: Path) -> None:
    async with share(data) as broker:
        await broker.queue("q").put(1)


@contextlib.contextmanager
def impostor(data: Path, answer: bytes) -> Iterator[None]:
    """Somebody at the socket who says this to whoever comes."""
    home = Home(str(data))
    home.open()
    lock = home.take_broker_lock()
    assert lock is not None
    home.write_status(Status(4711, "0.0.1", 1.0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(home.socket_path())
    listener.listen()
    loop = asyncio.get_running_loop()

    def come() -> None:
        peer, _ = listener.accept()
        with peer, contextlib.suppress(OSError):
            peer.sendall(answer)

    loop.add_reader(listener, come)
    try:
        yield
    finally:
        loop.remove_reader(listener)
        listener.close()
        unlock(lock)
        home.close()


async def test_a_broker_of_another_version_is_named(tmp_path: Path) -> None:
    refusal = encode(Refused("this server speaks version 0 of the protocol", True))
    with impostor(tmp_path / "data", refusal), pytest.raises(ProtocolError) as caught:
        await share(tmp_path / "data")
    assert "version 0" in str(caught.value)
    assert "broker process 4711" in str(caught.value)
    assert "posthouse 0.0.1" in str(caught.value)


async def test_somebody_else_at_the_socket(tmp_path: Path) -> None:
    with impostor(tmp_path / "data", b"\0\0\0\x05hello"), pytest.raises(ProtocolError):
        await share(tmp_path / "data")


async def test_a_broker_that_neither_answers_nor_leaves(tmp_path: Path) -> None:
    home = Home(str(tmp_path / "data"))
    home.open()
    lock = home.take_broker_lock()
    assert lock is not None
    try:
        with pytest.raises(BrokerUnreachable):
            await share(tmp_path / "data", connect_timeout_s=1.0)
    finally:
        unlock(lock)
        home.close()


async def test_a_broker_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "posthouse.py").write_text("raise SystemExit('not the real one')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BrokerUnreachable, match="did not start: not the real one"):
        await share(tmp_path / "data", connect_timeout_s=2.0)


async def test_an_interpreter_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(posthouse.PosthouseError, match="no broker process could be started"):
        await share(tmp_path / "data")
    monkeypatch.setattr("sys.executable", "")
    with pytest.raises(posthouse.Unsupported, match="posthouse serve"):
        await share(tmp_path / "data")


async def test_a_socket_that_somebody_removes_is_made_anew(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with share(data) as broker:
        await broker.queue("q").put(1)
        first = status_of(data).pid
        (data / ".shared" / "socket").unlink()
        async with share(data) as other:
            await other.queue("q").put(2)
            assert status_of(data).pid != first
            await asyncio.wait_for(broker.queue("q").put(3), 30)
            assert (await other.queue("q").stats()).waiting == 3


async def test_a_full_disk_is_a_clear_error_and_passes(small_disk: Path) -> None:
    data = small_disk / "data"
    async with share(data, segment_bytes=64 * 1024, ring_slots=64) as broker:
        queue = broker.queue("q")
        stored = 0
        with pytest.raises(StorageFull):
            while True:
                await queue.put(b"x" * 900)
                stored += 1
        async with asyncio.timeout(60):
            for _ in range(stored):
                await (await queue.get()).ack(durable=True)
            await queue.put(b"there is room again")
    await nobody(data)


async def test_a_disk_that_is_full_from_the_start(small_disk: Path) -> None:
    (small_disk / "data").mkdir()
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(b"x" * 1024 * 1024)
    with pytest.raises(StorageFull):
        await share(small_disk / "data")


def test_the_folder_is_made_private_again(tmp_path: Path) -> None:
    (tmp_path / ".shared").mkdir(0o755)
    (tmp_path / ".shared").chmod(0o755)
    home = Home(str(tmp_path))
    home.open()
    try:
        assert stat.S_IMODE((tmp_path / ".shared").stat().st_mode) == 0o700
    finally:
        home.close()
