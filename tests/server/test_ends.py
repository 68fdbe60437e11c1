"""How a server and its listeners end: no socket is left, whatever was under way."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from posthouse.backends import registry
from posthouse.backends.hosted import Hosted
from posthouse.server import Limits, Server
from posthouse.server.address import Address, parse_address
from posthouse.server.server import LEAVING
from posthouse.testing.chaos import ChaosProxy
from posthouse.testing.serving import serve
from posthouse.wire import requests
from posthouse.wire.connection import ClientSide
from tests.server.raw import Raw

TURNS = range(8)
"""Turns of the loop between a client's coming and the end: more than a connection needs to be."""


@contextmanager
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every socket and transport is closed by whoever has it, not by the garbage collector."""
    left: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "unraisablehook", lambda found: left.append(found.exc_value))
        yield
        gc.collect()
    assert not left


async def started(**limits: Any) -> Server:
    backend = registry.connect("memory:", (), {})
    assert isinstance(backend, Hosted)
    await backend.start()
    return Server(backend, Limits(**limits))


def come(address: Address) -> socket.socket:
    """A client: in the line of those who wait to be accepted when this returns."""
    if address.host:
        return socket.create_connection((address.host, address.port), 10.0)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(10.0)
    try:
        client.connect(address.path)
    except OSError:
        client.close()
        raise
    return client


@pytest.mark.parametrize("turns", TURNS)
@pytest.mark.parametrize("kind", ["tcp", "unix"])
async def test_who_is_just_being_let_in_is_seen_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, turns: int
) -> None:
    with nothing_left(monkeypatch):
        server = await started()
        listen = "tcp://127.0.0.1:0" if kind == "tcp" else f"unix:{tmp_path}/socket"
        await server.listen([listen])
        with come(server.addresses[0]) as client:
            for _ in range(turns):
                await asyncio.sleep(0)
            # Whoever is waited for in vain takes these 2 s.
            began_s = asyncio.get_running_loop().time()
            await server.close()
            assert asyncio.get_running_loop().time() - began_s < 1.9
            assert server.connections == 0
            try:
                heard = ClientSide().receive(client.recv(1000))
                if heard:  # it was let in, and told
                    assert [each.text for each in heard] == [LEAVING]
                    assert client.recv(1) == b""
            except ConnectionResetError:
                pass  # it was not let in any more


@pytest.mark.parametrize("turns", TURNS)
async def test_a_start_that_is_cancelled_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    with nothing_left(monkeypatch):
        server = await started()
        place = tmp_path / "socket"
        listening = asyncio.create_task(server.listen(["tcp://127.0.0.1:0", f"unix:{place}"]))
        for _ in range(turns):
            await asyncio.sleep(0)
        listening.cancel()
        try:
            await listening
        except asyncio.CancelledError:
            assert not place.exists()
        for address in server.addresses:
            if listening.cancelled():
                with pytest.raises(OSError):
                    come(address).close()
        await server.close()
        assert not place.exists()


async def test_a_start_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nothing_left(monkeypatch), socket.create_server(("127.0.0.1", 0)) as taken:
        server = await started()
        place = tmp_path / "socket"
        port = taken.getsockname()[1]
        with pytest.raises(OSError):
            await server.listen([f"unix:{place}", f"tcp://127.0.0.1:{port}"])
        assert not place.exists()
        await server.close()


async def test_a_client_that_takes_nothing_does_not_keep_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with nothing_left(monkeypatch):
        server = await started(drain_s=0.2)
        await server.listen(["tcp://127.0.0.1:0"])

        def ask() -> Raw:
            client = Raw(str(server.addresses[0]))
            client.hello()
            client.say(requests.PutMany(1, "q", 1, 2, [b"x" * 1_000_000] * 8))
            client.hear()
            client.say(requests.Subscribe(2, "q", 100, 1 << 30))
            return client

        with await asyncio.to_thread(ask):
            while server.held_bytes() < 1_000_000:
                await asyncio.sleep(0.01)
            await server.close()
            assert server.connections == 0


async def test_a_socket_that_was_bound_is_closed_when_more_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nothing_left(monkeypatch):
        server = await started()

        async def fails(*_: Any, **__: Any) -> asyncio.Server:
            raise OSError("no more of them")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_unix_server", fails)
        with pytest.raises(OSError, match="no more"):
            await server.listen([f"unix:{tmp_path}/socket"])
        assert not (tmp_path / "socket").exists()
        await server.close()


@pytest.mark.parametrize("turns", TURNS)
def test_the_proxy_leaves_nothing(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    with nothing_left(monkeypatch), serve() as served:
        with ChaosProxy(served.url) as proxy:
            address = parse_address(proxy.url)
            clients = [come(address) for _ in range(turns)]
            if turns % 2:
                proxy.reset()
        for client in clients:
            client.close()
