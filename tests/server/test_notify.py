"""What systemd hears of a server (sd_notify(3)), on real datagram sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import posthouse
from posthouse.server import notify as notifying
from posthouse.server.notify import notify
from posthouse.wire import requests
from posthouse.wire.answers import Placed
from tests.server.process import ServerProcess
from tests.server.raw import Raw

KINDS = pytest.mark.parametrize("kind", ["path", "abstract"])


@contextmanager
def listening(directory: Path, kind: str) -> Iterator[tuple[str, socket.socket]]:
    """What systemd does: ``NOTIFY_SOCKET``, and the socket that it reads from."""
    place = str(directory / "notify") if kind == "path" else f"@posthouse-{directory.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(30.0)
        receiver.bind("\0" + place[1:] if kind == "abstract" else place)
        yield place, receiver


@KINDS
async def test_a_server_says_when_it_is_ready_and_when_it_ends(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as (place, receiver):
        server = ServerProcess(
            tmp_path / "data", environment={**os.environ, "NOTIFY_SOCKET": place}
        )
        with server:
            assert await asyncio.to_thread(receiver.recv, 100) == b"READY=1"
            async with posthouse.open(server.url) as broker:
                await broker.queue("q").put(1)
            assert await asyncio.to_thread(server.end) == 0
        assert receiver.recv(100) == b"STOPPING=1"
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)


async def test_it_is_not_ready_before_clients_may_come(tmp_path: Path) -> None:
    """Where it cannot listen, it is never ready."""
    with listening(tmp_path, "path") as (place, receiver), socket.create_server(("", 0)) as taken:
        server = ServerProcess(
            tmp_path / "data", environment={**os.environ, "NOTIFY_SOCKET": place}
        )
        server.url = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(AssertionError):
            server.start()
        assert await asyncio.to_thread(server.end) == 1
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(100)


@KINDS
def test_one_datagram(tmp_path: Path, kind: str) -> None:
    with listening(tmp_path, kind) as (place, receiver):
        assert notify("READY=1", {"NOTIFY_SOCKET": place})
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize("place", ["", "relative", "/nowhere/at/all", "@nobody-listens-here"])
def test_nobody_asked_or_listens(place: str) -> None:
    assert not notify("READY=1", {"NOTIFY_SOCKET": place})
    assert not notify("READY=1", {})


def test_who_does_not_read_does_not_stop_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifying, "PATIENCE_S", 0.05)
    with listening(tmp_path, "path") as (place, _):
        while notify("READY=1", {"NOTIFY_SOCKET": place}):
            pass  # until there is no room for another


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: signal.Signals) -> None:
    """It waits for a client that takes nothing; and what was acknowledged is there afterwards."""
    with listening(tmp_path, "path") as (place, receiver):
        environment = {**os.environ, "NOTIFY_SOCKET": place}
        with ServerProcess(tmp_path / "data", environment=environment) as server:
            assert receiver.recv(100) == b"READY=1"
            with Raw(server.url) as client:
                client.hello()
                client.say(requests.PutMany(1, "q", 1, 2, [b"x" * 1_000_000] * 12))
                assert isinstance(client.hear(), Placed)
                client.say(requests.Subscribe(2, "q", 100, 1 << 30))
                assert len(client.socket.recv(1)) == 1  # it pushes, and nobody takes the rest
                assert server.process is not None
                server.process.send_signal(number)
                assert receiver.recv(100) == b"STOPPING=1"
                server.process.send_signal(number)
                code = server.process.wait(30.0)
                assert code in (-number, 128 + number), code
        with ServerProcess(tmp_path / "data") as server, Raw(server.url) as client:
            client.hello()
            client.say(requests.Ask(1, "stats", "q", []))
            stats = client.hear()
            assert stats.value["waiting"] + stats.value["in_flight"] == 12
