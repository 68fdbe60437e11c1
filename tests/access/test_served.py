"""A real server and real clients: who comes in, what he may do, and what is said about it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

import posthouse
from posthouse.access.file import change_users
from posthouse.access.hashing import Hasher
from posthouse.access.rights import Grant
from posthouse.access.users import User, Users
from posthouse.backends import registry
from posthouse.backends.memory import MemoryBackend
from posthouse.backends.remote.backend import RemoteBackend
from posthouse.errors import (
    AccessDenied,
    AuthenticationFailed,
    BadArgument,
    BrokerUnreachable,
    ProtocolError,
    UnknownOutcome,
)
from posthouse.link.keeper import Renewals
from posthouse.queue import Queue
from posthouse.server.admission import Admission
from posthouse.server.limits import Limits
from posthouse.server.server import Server
from posthouse.wire.answers import Refused, Welcome
from posthouse.wire.connection import ClientSide, encode_all
from posthouse.wire.format import VERSION
from posthouse.wire.requests import Hello, PutOne, Renew
from tests.access.certificates import Authority
from tests.access.people import START_S, password, token

PASSWORD = "correct horse battery"
QUICK: dict[str, Any] = {"connect_timeout_s": 5.0, "first_pause_s": 0.01}


@dataclass
class Place:
    """A server in this process, and its files."""

    server: Server
    users: str
    authority: Authority
    ada: str
    bob: str

    @property
    def tls(self) -> str:
        """Where it listens with TLS."""
        return str(self.server.addresses[0]).replace("127.0.0.1", "localhost")

    @property
    def unix(self) -> str:
        """Its socket file."""
        return str(self.server.addresses[1])

    def client(self, name: str, **more: Any) -> posthouse.Broker:
        """Ada or Bob, over TLS."""
        secret = {"ada": self.ada, "bob": self.bob}[name]
        options = {"user": name, "token": secret, "ca_file": self.authority.file, **QUICK, **more}
        return posthouse.open(self.tls, **options)

    def change(self, change: Any) -> None:
        """Change the users, and let the server see it."""
        change_users(self.users, change)
        assert self.server.admission is not None
        self.server.admission.reload()


@contextlib.asynccontextmanager
async def served(
    directory: Path, *users: User, mutual: bool = False, limits: Limits | None = None
) -> AsyncIterator[Place]:
    """A server of Ada, who may do all on what begins with her name, and of Bob likewise."""
    authority = Authority(directory)
    files = authority.issue("localhost")
    first, ada = token("000000a1")
    second, bob = token("000000b1")
    people = [
        User(
            "ada",
            (first, password("000000a2", PASSWORD)),
            (),
            (Grant("ada*", ("put", "get", "browse", "manage")),),
        ),
        User(
            "bob",
            (second,),
            (),
            (
                Grant("bob*", ("put", "get", "browse", "manage")),
                Grant("ada.inbox", ("put",)),
                Grant("ada.read", ("browse",)),
            ),
        ),
        *users,
    ]
    path = str(directory / "users.json")
    change_users(path, lambda _: Users(users=tuple(people)), create=True)
    backend = MemoryBackend()
    await backend.start()
    admission = await Admission.open(
        path, files.cert, files.key, authority.file if mutual else None, look_every_s=3_600
    )
    server = Server(backend, limits, admission)
    await server.listen(["tls://127.0.0.1:0", f"unix:{directory / 'socket'}"])
    try:
        yield Place(server, path, authority, ada.reveal(), bob.reveal())
    finally:
        await server.close()


async def test_users_come_in_and_do_what_they_may(tmp_path: Path) -> None:
    async with served(tmp_path) as place, place.client("ada") as ada, place.client("bob") as bob:
        inbox: Queue[Any] = ada.queue("ada.inbox")
        await inbox.put("by ada")
        await bob.queue("ada.inbox").put("by bob")
        assert [(await inbox.get()).body for _ in range(2)] == ["by ada", "by bob"]
        assert await ada.queue_names() == ["ada.inbox"]
        await bob.queue("bob.own").put("x")
        assert await bob.queue_names() == ["ada.inbox", "bob.own"]
        assert [each.name for each in await bob.stats()] == ["bob.own"]
        with pytest.raises(AccessDenied, match="user 'bob' has no right to get on 'ada.inbox'"):
            await bob.queue("ada.inbox").get(timeout=1)
        for work in (
            bob.queue("ada.other").put("x"),
            bob.queue("ada.other").put_many(["x", "y"]),
            bob.queue("ada.inbox").purge(),
            bob.queue("ada.inbox").peek(),
            bob.topic("ada.news").publish("x"),
            ada.queue("bob.own").put("x", headers={"a": "b"}),
        ):
            with pytest.raises(AccessDenied):
                await work
        with pytest.raises(AccessDenied):
            async for _ in bob.queue("ada.inbox"):
                raise AssertionError("delivered")
        with pytest.raises(AccessDenied):
            async with bob.transaction() as tx:
                tx.put(bob.queue("bob.own"), "not alone")
                tx.put(bob.queue("ada.other"), "x")
        assert (await bob.queue("bob.own").stats()).waiting == 1
        assert await ada.queue_names() == ["ada.inbox"]


PUTS: dict[str, Callable[[Queue[Any]], Any]] = {
    "plain": lambda queue: queue.put("x"),
    "with headers": lambda queue: queue.put("x", headers={"a": "b"}),
    "delayed": lambda queue: queue.put("x", delay=1),
    "within a time": lambda queue: queue.put("x", timeout=5),
    "many at once": lambda queue: asyncio.gather(*(queue.put("x") for _ in range(50))),
    "a batch": lambda queue: queue.put_many(["x", "y"]),
    "a batch with headers": lambda queue: queue.put_many(["x", "y"], headers={"a": "b"}),
    "a batch within a time": lambda queue: queue.put_many(["x", "y"], timeout=5),
}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("how", PUTS)
async def test_every_way_to_put_asks(tmp_path: Path, how: str, full: bool) -> None:
    """Also the ways that the server takes for puts that it must know again, or that wait."""
    async with served(tmp_path) as place, place.client("ada") as ada, place.client("bob") as bob:
        queue: Queue[Any] = ada.queue("ada.read", max_messages=1)
        if full:
            await queue.put("first")
        async with asyncio.timeout(20):
            with pytest.raises(AccessDenied, match=r"no right to put on 'ada\.read'"):
                await PUTS[how](bob.queue("ada.read"))
        figures = await bob.queue("ada.read").stats()
        assert (figures.waiting, figures.put, figures.delayed) == (int(full), int(full), 0)


@pytest.mark.parametrize("given", [{"password": PASSWORD}, {"token": None}])
async def test_a_socket_file_asks_too(tmp_path: Path, given: dict[str, Any]) -> None:
    async with served(tmp_path) as place:
        said = {key: value or place.ada for key, value in given.items()}
        async with posthouse.open(place.unix, user="ada", **said, **QUICK) as broker:
            await broker.queue("ada.x").put("x")
        with pytest.raises(AuthenticationFailed):
            await posthouse.open(place.unix, **QUICK)


WRONG: dict[str, dict[str, Any]] = {
    "nobody": {"user": None, "token": None},
    "a wrong token": {"token": "pht_000000a1_" + "A" * 43},
    "no token": {"token": "s3cr3t-s3cr3t"},
    "a wrong password": {"token": None, "password": "s3cr3t-s3cr3t"},
    "an unknown user": {"user": "eve"},
    "another's token": {"user": "bob"},
    "a certificate that is not there": {"user": None, "token": None, "certificate_login": True},
}


@pytest.mark.parametrize("what", WRONG)
async def test_who_is_not_known_is_refused_at_once_and_logged_without_the_secret(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(tmp_path) as place:
        with caplog.at_level(logging.DEBUG), pytest.raises(AuthenticationFailed) as caught:
            await place.client("ada", **WRONG[what])
        assert place.server.connections <= 1
        text = f"{caught.value} {caught.value!r} {caplog.text}"
        assert "refused" in caplog.text
        for secret in (place.ada, place.bob, "s3cr3t-s3cr3t", "A" * 43):
            assert secret not in text


async def test_an_expired_login_is_refused(tmp_path: Path) -> None:
    gone, secret = token("000000e1", expires_s=-START_S + 1)  # since 1970
    async with served(tmp_path, User("eve", (gone,))) as place:
        with pytest.raises(AuthenticationFailed):
            await place.client("ada", user="eve", token=secret)


async def test_rights_that_are_taken_are_gone_at_the_next_verb(tmp_path: Path) -> None:
    async with served(tmp_path) as place, place.client("ada") as ada:
        queue: Queue[Any] = ada.queue("ada.x")
        await queue.put("x")

        def take(users: Users) -> Users:
            return users.changed(
                "ada", lambda user: msgspec.structs.replace(user, grants=(Grant("ada*", ("get",)),))
            )

        place.change(take)
        async with asyncio.timeout(10):
            with pytest.raises(AccessDenied, match=r"no right to put on 'ada\.x' \(has: get\)"):
                while True:
                    await queue.put("y")
        assert (await queue.get()).body == "x"


async def test_who_is_removed_is_thrown_out_and_stays_out(tmp_path: Path) -> None:
    async with served(tmp_path) as place:
        ada = await place.client("ada", give_up_after_s=0.2)
        await ada.queue("ada.x").put("x")
        place.change(lambda users: users.without("ada"))
        async with asyncio.timeout(20):
            with pytest.raises(BrokerUnreachable, match="the login was refused"):
                while True:
                    with contextlib.suppress(AccessDenied, UnknownOutcome):
                        await ada.queue("ada.x").put("y")
        with pytest.raises(AuthenticationFailed):
            await place.client("ada")
        await ada.close()


async def test_a_rotated_token_file_carries_a_client_over(tmp_path: Path) -> None:
    """The old credential goes: the client comes back with the new one, and its session goes on."""
    async with served(tmp_path) as place:
        file = tmp_path / "token"
        file.touch(mode=0o600)
        file.write_text(place.ada)
        async with place.client("ada", token=None, token_file=str(file)) as ada:
            queue: Queue[Any] = ada.queue("ada.x")
            await queue.put("x")
            message = await queue.get()
            made, secret = token("000000a3")
            file.write_text(secret.reveal())

            def rotate(user: User) -> User:
                return msgspec.structs.replace(user, credentials=(made,))

            place.change(lambda users: users.changed("ada", rotate))
            async with asyncio.timeout(20):
                while True:
                    try:
                        await queue.put("y")
                    except AccessDenied:
                        continue  # the old login has ended and the line is about to be cut
                    else:
                        break
            await message.ack()  # its lease is the session's
            assert (await queue.stats()).in_flight == 0


# ---------------------------------------------------------------- on the wire


async def converse(place: Place, *messages: Any) -> list[Any]:
    """Say all that at once to the socket file, and hear until the end or a second answer."""
    path = place.unix.removeprefix("unix:")
    reader, writer = await asyncio.open_unix_connection(path)
    side = ClientSide()
    heard: list[Any] = []
    writer.write(encode_all(messages))
    async with asyncio.timeout(10):
        while data := await reader.read(65536):
            heard += side.receive(data)
            if heard and not isinstance(heard[0], Refused) and len(heard) >= len(messages):
                break
    writer.close()
    return heard


def hello(place: Place, user: str = "ada", **more: Any) -> Hello:
    secret = {"ada": place.ada, "bob": place.bob}[user]
    return Hello(VERSION, VERSION, mechanism="token", user=user, secret=secret, **more)


async def test_nothing_is_done_before_the_login(tmp_path: Path) -> None:
    async with served(tmp_path) as place:
        put = PutOne(1, "ada.x", 1, 0, b"1")
        for first in (hello(place), Hello(VERSION, VERSION)):
            heard = await converse(place, first, put)
            assert isinstance(heard[0], Refused)
            assert len(heard) == 1
        async with place.client("ada") as ada:
            assert await ada.queue_names() == []


async def test_a_session_is_its_users_only(tmp_path: Path) -> None:
    async with served(tmp_path) as place:
        welcome = (await converse(place, hello(place)))[0]
        assert isinstance(welcome, Welcome)
        again = (await converse(place, hello(place, session=welcome.session)))[0]
        assert again.resumed
        assert again.session == welcome.session
        theirs = (await converse(place, hello(place, "bob", session=welcome.session)))[0]
        assert not theirs.resumed
        assert theirs.session != welcome.session
        for first in (
            hello(place, "bob", session=welcome.session, role="keeper"),
            Hello(VERSION, VERSION, session=welcome.session, role="keeper"),
        ):
            assert isinstance((await converse(place, first))[0], Refused)


async def test_a_keeper_makes_no_queue_and_keeps_no_strangers_lease(tmp_path: Path) -> None:
    async with served(tmp_path) as place, place.client("ada") as ada:
        await ada.queue("ada.x").put("x")
        message = await ada.queue("ada.x").get()
        welcome = (await converse(place, hello(place, "bob")))[0]
        keeper = hello(place, "bob", session=welcome.session, role="keeper")
        path = place.unix.removeprefix("unix:")
        reader, writer = await asyncio.open_unix_connection(path)
        side = ClientSide()
        heard: list[Any] = []
        writer.write(encode_all([keeper]))
        async with asyncio.timeout(10):
            while len(heard) < 2:
                data = await reader.read(65536)
                assert data
                heard += side.receive(data)
                if len(heard) == 1:
                    leases = [("ada.x", message.token, 10**12), ("ada.new", 1, 10**12)]
                    writer.write(encode_all([Renew(1, leases)]))
        writer.close()
        assert sorted(heard[1].value) == sorted([1, message.token])
        assert await ada.queue_names() == ["ada.x"]


async def test_a_peer_that_leaves_during_the_login_leaves_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as place:
        path = place.unix.removeprefix("unix:")
        for _ in range(20):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(encode_all([hello(place)]))
            await writer.drain()
            writer.close()
        async with place.client("ada") as ada:
            await ada.queue("ada.x").put("x")
            async with asyncio.timeout(10):
                while place.server.connections > 1:
                    await asyncio.sleep(0.01)


async def test_a_check_that_breaks_lets_nobody_in_and_leaves_the_server_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> bool:
        raise MemoryError("argon2 had none")

    async with served(tmp_path) as place:
        with monkeypatch.context() as patch:
            patch.setattr(Hasher, "fits", broken)
            with pytest.raises(BrokerUnreachable):
                await place.client("ada", connect_timeout_s=2.0)
        assert "its login could not be checked" in caplog.text
        assert place.ada not in caplog.text
        async with place.client("ada") as ada:
            await ada.queue("ada.x").put("x")


@pytest.mark.parametrize("where", ["tls", "unix"])
async def test_the_thread_that_keeps_leases_logs_in_too(tmp_path: Path, where: str) -> None:
    async with served(tmp_path) as place:
        options = {"user": "ada", "token": place.ada, **QUICK}
        if where == "tls":
            options["ca_file"] = place.authority.file
        backend = registry.connect(getattr(place, where), (), options)
        assert isinstance(backend, RemoteBackend)
        async with posthouse.Broker("tls:", backend) as ada:
            queue: Queue[Any] = ada.queue("ada.x", visibility_timeout=60)
            await queue.put("x")
            message = await queue.get()
            held = backend.link.holdings
            before = held.snapshot()
            assert [token for _, token, _ in before] == [message.token]

            def keep() -> None:
                with contextlib.closing(Renewals(backend.link)) as renewals:
                    renewals.renew(before)

            await asyncio.to_thread(keep)
            await message.ack()


async def test_half_a_handshake_is_let_go(tmp_path: Path) -> None:
    limits = Limits(handshake_s=0.2)
    async with served(tmp_path, limits=limits) as place:
        address = place.server.addresses[0]
        connections = [await asyncio.open_connection(address.host, address.port) for _ in range(10)]
        async with asyncio.timeout(20):
            while place.server.connections < 10:
                await asyncio.sleep(0.01)
            while place.server.connections:
                await asyncio.sleep(0.01)
        for _, writer in connections:
            writer.close()


# ---------------------------------------------------------------- TLS


async def test_a_client_that_believes_another_authority_says_nothing(tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with served(tmp_path) as place:
        with pytest.raises(ProtocolError, match="certificate verify failed"):
            await place.client("ada", ca_file=other.file)
        with pytest.raises(ProtocolError, match="Hostname mismatch"):
            await place.client("ada", server_name="posthouse.example")
        plain = place.tls.replace("tls://", "tcp://")
        with pytest.raises((BrokerUnreachable, ProtocolError)):
            await posthouse.open(plain, user="ada", token=place.ada, connect_timeout_s=0.3)


async def test_a_certificate_is_a_login(tmp_path: Path) -> None:
    worker = User(
        "worker", (), ("DNS:worker-1.example",), (Grant("jobs", ("put", "get", "manage")),)
    )
    async with served(tmp_path, worker, mutual=True) as place:
        files = place.authority.issue("worker-1.example", file="worker")
        stranger = place.authority.issue("worker-2.example", file="stranger")
        options: dict[str, Any] = {
            "ca_file": place.authority.file,
            "certificate_login": True,
            **QUICK,
        }
        async with posthouse.open(place.tls, **options, **files.options) as broker:
            await broker.queue("jobs").put("x")
            with pytest.raises(AccessDenied, match="user 'worker'"):
                await broker.queue("ada.x").put("x")
        with pytest.raises(AuthenticationFailed):
            await posthouse.open(place.tls, **options, **stranger.options)
        with pytest.raises((BrokerUnreachable, ProtocolError)):
            await place.client("ada", connect_timeout_s=0.3)  # shows no certificate


async def test_where_a_server_listens() -> None:
    backend = MemoryBackend()
    await backend.start()
    server = Server(backend)
    for address in ("tcp://0.0.0.0:0", "tls://0.0.0.0:0", "tls://127.0.0.1:0"):
        with pytest.raises(BadArgument):
            await server.listen([address])
    await server.close()


def test_a_hello_shows_no_secret() -> None:
    said = Hello(VERSION, VERSION, mechanism="token", user="ada", secret="s3cr3t-s3cr3t")
    assert "s3cr3t" not in f"{said!r} {said}"


def test_what_a_url_may_say() -> None:
    with pytest.raises(BadArgument, match="no secret is taken from a URL") as caught:
        posthouse.open("tls://ada:s3cr3t-s3cr3t@localhost:7333")
    assert "s3cr3t" not in str(caught.value)
    with pytest.raises(BadArgument, match="in the clear"):
        posthouse.open("tcp://10.0.0.1", user="ada", token="s3cr3t-s3cr3t")
    with pytest.raises(BadArgument, match="has no option 'ca_file'"):
        posthouse.open("tcp://127.0.0.1", ca_file="x")
