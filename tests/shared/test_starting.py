"""Who starts the broker process, what it is given, and when it leaves."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import posthouse
from posthouse.backends.remote.shared.starting import environment
from posthouse.errors import AlreadyOpen, BadArgument
from tests.shared.places import kill, nobody, served, share, status_of

CROWD = 50


def test_fifty_processes_that_open_at_once_have_one_broker(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.shared.crowd", str(tmp_path / "data"), str(CROWD)],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert served(tmp_path / "data") == 1


async def test_two_brokers_of_a_directory_see_the_same(tmp_path: Path) -> None:
    url = f"shared:{tmp_path / 'data'}"
    async with share(tmp_path / "data") as one, posthouse.open(url) as other:
        assert one.url == other.url == url
        await one.queue("q").put("hello")
        message = await asyncio.wait_for(other.queue("q").get(), 30)
        assert message.body == "hello"
        await message.ack()
        assert "processes" in other.capabilities
        assert "durable" in other.capabilities
    assert served(tmp_path / "data") == 1


async def test_it_leaves_when_nobody_is_there_and_comes_back(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number in range(3):
        async with share(data) as broker:
            assert (await broker.queue("q").stats()).waiting == number
            await broker.queue("q").put(number)
        await nobody(data)
        assert not (data / ".shared" / "socket").exists()
        assert not (data / ".shared" / "broker.json").exists()
    assert served(data) == 3
    async with posthouse.open(str(data)) as broker:  # alone again
        assert broker.queue("q").qsize() == 3


async def test_those_who_come_while_it_leaves_are_not_lost(tmp_path: Path) -> None:
    """Openings at all moments around the end of its linger."""
    data = tmp_path / "data"

    async def come(number: int) -> None:
        await asyncio.sleep(number * 0.017)
        async with share(data, linger_s=0.05) as broker:
            await broker.queue("q").put(number)

    for _ in range(4):
        async with asyncio.timeout(60):
            await asyncio.gather(*(come(number) for number in (0, 60, 120, 125, 130, 180, 190)))
    async with share(data) as broker:
        assert (await broker.queue("q").stats()).waiting == 4 * 7


async def test_it_is_for_its_owner_only(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(0o755)
    before = os.umask(0)
    try:
        async with share(data) as broker:
            await broker.queue("q").put(1)
            folder = data / ".shared"
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            for each in folder.iterdir():
                assert stat.S_IMODE(each.stat().st_mode) & 0o077 == 0, each
    finally:
        os.umask(before)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
async def test_it_inherits_no_secret_no_descriptor_and_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setenv("POSTHOUSE_TOKEN", "another")
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        async with share(tmp_path / "data"):
            process = Path("/proc", str(status_of(tmp_path / "data").pid))
            given = (process / "environ").read_bytes()
            assert b"secret" not in given
            assert b"another" not in given
            assert b"PATH=" in given
            targets = {os.readlink(each) for each in (process / "fd").iterdir()}
            assert str(tmp_path) not in targets
            for number in ("0", "1", "2"):
                assert os.readlink(process / "fd" / number) == os.devnull
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            session, terminal = int(fields[3]), int(fields[4])
            assert session != os.getsid(0)
            assert terminal == 0
            assert os.readlink(process / "cwd") == "/"
    finally:
        os.close(held)


def test_the_environment_keeps_what_python_needs() -> None:
    given = {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": "here",
        "PYTHONINSPECT": "1",
        "TOKEN": "x",
    }
    kept = environment(given)
    assert kept["PATH"] == "/bin"
    assert kept["LC_ALL"] == "C.UTF-8"
    assert kept["PYTHONPATH"].split(os.pathsep)[0] == os.path.abspath("here")
    assert kept.keys() <= {"PATH", "LC_ALL", "PYTHONPATH"}


async def test_alone_and_shared_say_how_to_come_together(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with posthouse.open(str(data)):
        for options in ({}, {"share": True}):
            with pytest.raises(AlreadyOpen) as caught:
                await posthouse.open(str(data), **options)
            assert caught.value.pid == os.getpid()
            assert f"process {os.getpid()} (since 2" in str(caught.value)
            assert "share=True) on both sides" in str(caught.value)
    async with share(data):
        with pytest.raises(AlreadyOpen) as caught:
            await posthouse.open(str(data))
        assert caught.value.pid == status_of(data).pid
        assert "which shares it: open it with share=True here too" in str(caught.value)


async def test_a_socket_that_was_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with share(data) as broker:
        await broker.queue("q").put(1)
        kill(data)
        await broker.queue("q").put(2)
        kill(data)
    await nobody(data)
    assert (data / ".shared" / "socket").exists()
    async with share(data) as broker:
        assert (await broker.queue("q").stats()).waiting == 2


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("shared:", {}),
        ("memory:", {"share": True}),
        ("tcp://localhost", {"share": True}),
        ("shared:x", {"share": False}),
        ("x", {"share": 1}),
        ("x", {"share": True, "linger_s": -1}),
        ("x", {"share": True, "linger_s": "3"}),
        ("x", {"share": True, "segment_bytes": 1}),
        ("x", {"share": True, "clock": None}),
    ],
)
def test_what_cannot_be_is_refused(url: str, options: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        posthouse.open(url, **options)


async def test_options_of_the_log_reach_the_broker(tmp_path: Path) -> None:
    async with share(tmp_path / "data", sync="os") as broker:
        assert "durable" not in broker.capabilities
