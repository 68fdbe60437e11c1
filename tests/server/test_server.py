"""What a server does with clients that are slow, silent, greedy or wrong."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.errors import BadArgument
from posthouse.records import Traits
from posthouse.server import Limits
from posthouse.server.address import listen_unix, parse_address
from posthouse.testing.cases.base import soon
from posthouse.testing.serving import ServedBroker, serve
from posthouse.wire import requests
from posthouse.wire.answers import Answer, Delivered, Failed, Placed, Pong, Pushed, Refused, Welcome
from posthouse.wire.connection import encode, encode_all
from tests.server.raw import Raw
from tests.wire.messages import FROM_CLIENT

FEW = Limits(output_bytes=65536, connections=20, requests=50)
"""With deadlines as they are: a busy machine does not run into them."""


@pytest.fixture
def served() -> Iterator[ServedBroker]:
    with serve(limits=FEW) as found:
        yield found


@pytest.fixture
def quick(request: pytest.FixtureRequest) -> Iterator[ServedBroker]:
    """With the short deadlines that the test is about."""
    with serve(limits=Limits(output_bytes=65536, **request.param)) as found:
        yield found


def short(**deadlines: float) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("quick", [deadlines], indirect=True, ids=[next(iter(deadlines))])


def eventually(check: Any) -> None:
    """Look until it is so; a test that waits in vain runs into its own timeout."""
    while not check():
        time.sleep(0.01)


async def works(url: str) -> None:
    async with posthouse.open(url) as broker:
        queue = broker.queue("works")
        await soon(queue.put(1))
        await (await soon(queue.get())).ack()


@short(handshake_s=0.2)
def test_no_hello_and_slow_hellos_are_closed(quick: ServedBroker) -> None:
    with Raw(quick.url) as silent, Raw(quick.url) as slow:
        for byte in bytes(encode(requests.Hello(1, 1)))[:3]:
            slow.socket.sendall(bytes([byte]))
        assert silent.closed()
        assert slow.closed()


@short(heartbeat_s=1.0)
def test_a_client_that_falls_silent_is_closed(quick: ServedBroker) -> None:
    with Raw(quick.url) as client, Raw(quick.url) as talking:
        assert isinstance(client.hello(), Welcome)
        assert isinstance(talking.hello(), Welcome)
        client.socket.setblocking(False)
        while True:
            talking.say(requests.Ping(1))
            assert talking.hear() == Pong(1)
            try:
                assert client.hear() is None
                break
            except BlockingIOError:
                time.sleep(0.05)
        talking.say(requests.Ping(2))
        assert talking.hear() == Pong(2)


@pytest.mark.parametrize("before", [True, False])
def test_a_length_of_four_gibibytes(served: ServedBroker, before: bool) -> None:
    with Raw(served.url) as client:
        if not before:
            client.hello()
        client.socket.sendall(b"\xff\xff\xff\xff")
        answer = client.hear()
        assert isinstance(answer, Refused)
        assert "4,294,967,295" in answer.text
        assert client.closed()
    asyncio.run(works(served.url))


def test_another_version(served: ServedBroker) -> None:
    with Raw(served.url) as client:
        client.say(requests.Hello(7, 9))
        answer = client.hear()
        assert isinstance(answer, Refused)
        assert answer.final
        assert "version" in answer.text


@short(write_s=0.5)
def test_who_grants_credit_and_never_reads_is_cut_off(quick: ServedBroker) -> None:
    body = b"x" * 10_000
    asyncio.run(_fill(quick.url, body, 3000))
    with Raw(quick.url) as client:
        client.hello()
        client.say(requests.Subscribe(1, "q", 100_000, 1 << 40))
        server = quick.server
        peak = 0

        def gone() -> bool:
            nonlocal peak
            peak = max(peak, quick.call(lambda: server.held_bytes()))
            client.socket.sendall(encode(requests.Ping(1)))
            return False

        with pytest.raises(OSError):
            while not gone():
                time.sleep(0.02)
        # The output's limit, one push beyond it, and nothing like the 30 MB that are there.
        assert peak < 4_000_000
    asyncio.run(works(quick.url))


async def _fill(url: str, body: bytes, count: int) -> None:
    async with posthouse.open(url) as broker:
        for _ in range(count // 100):
            await broker.queue("q", visibility_timeout=1).put_many([body] * 100)


def test_a_push_stays_within_the_credit(served: ServedBroker) -> None:
    asyncio.run(_fill(served.url, b"x" * 100, 100))
    with Raw(served.url) as client:
        client.hello()
        client.say(requests.Subscribe(1, "q", 7, 1 << 20))
        pushed = client.hear()
        assert isinstance(pushed, Pushed)
        assert len(pushed.tokens) == 7
        client.say(requests.Ping(2))
        assert client.hear() == Pong(2)
        client.say(requests.Credit(1, 3, 300, 3))
        assert len(client.hear().tokens) == 3
        back = requests.Unsubscribe(1, pushed.tokens, [e[0] for e in pushed.entries], 10)
        client.say(back, requests.Ask(2, "stats", "q", []))
        stats = client.hear()
        assert isinstance(stats, Answer)
        assert stats.value["in_flight"] == 3


def test_too_many_connections_are_told_so(served: ServedBroker) -> None:
    clients = [Raw(served.url) for _ in range(FEW.connections)]
    for client in clients:
        assert isinstance(client.hello(), Welcome)
    with Raw(served.url) as one_more:
        answer = one_more.hello()
        assert isinstance(answer, Refused)
        assert "connections" in answer.text
        assert not answer.final
    for client in clients:
        client.socket.close()
    eventually(lambda: served.call(lambda: served.server.connections) == 0)
    asyncio.run(works(served.url))


def test_too_many_requests_unseen(served: ServedBroker) -> None:
    with Raw(served.url) as client:
        client.hello()
        client.say(*[requests.Ask(n, "names", "", []) for n in range(1, FEW.requests + 2)])
        answers = [client.hear() for _ in range(FEW.requests + 1)]
        assert any(isinstance(answer, Refused) for answer in answers)


def test_a_request_that_comes_again_is_answered_and_not_done_again(served: ServedBroker) -> None:
    put = requests.PutMany(1, "q", 1, 2, [b"a", b"b"])
    with Raw(served.url) as client:
        welcome = client.hello()
        client.say(put)
        first = client.hear()
        assert isinstance(first, Placed)
        client.say(put)
        assert client.hear() == first
    with Raw(served.url) as again:
        assert again.hello(session=welcome.session).resumed
        again.say(put, requests.Ask(2, "stats", "q", []))
        assert again.hear() == first
        assert again.hear().value["waiting"] == 2
        again.say(requests.Seen([1, 2]), put)
        assert isinstance(again.hear(), Refused)


@short(linger_s=0.5)
def test_a_session_is_over_after_its_time(quick: ServedBroker) -> None:
    with Raw(quick.url) as client:
        welcome = client.hello()
        assert quick.call(lambda: len(quick.server.members())) == 1
    eventually(lambda: not quick.call(quick.server.members))
    with Raw(quick.url) as again:
        assert not again.hello(session=welcome.session, producer=welcome.producer).resumed


def test_a_stranger_cannot_go_on_with_a_session(served: ServedBroker) -> None:
    with Raw(served.url) as client, Raw(served.url) as stranger, Raw(served.url) as keeper:
        welcome = client.hello()
        answer = stranger.hello(session=bytes(16))
        assert not answer.resumed
        assert answer.session != welcome.session
        assert isinstance(keeper.hello(session=b"x" * 16, role="keeper"), Refused)


def test_a_keeper_renews_and_nothing_else(served: ServedBroker) -> None:
    with Raw(served.url) as client, Raw(served.url) as keeper:
        welcome = client.hello()
        client.say(requests.PutOne(1, "q", 1, 2, b"a"), requests.Get(2, "q", 1, 1, 10**9))
        client.hear()
        delivered = client.hear()
        assert isinstance(delivered, Delivered)
        assert keeper.hello(session=welcome.session, role="keeper").resumed
        keeper.say(requests.Renew(1, [("q", delivered.token, 10**10), ("q", 5, 10**10)]))
        assert keeper.hear() == Answer(1, [5])
        keeper.say(requests.PutOne(2, "q", 2, 2, b"b"))
        assert isinstance(keeper.hear(), Refused)


def test_what_a_put_may_not_say(served: ServedBroker) -> None:
    forged = Traits(death=b"\x80", rank=5)
    with Raw(served.url) as client:
        client.hello()
        client.say(
            requests.PutOne(1, "q", 1, 2, b"a", b"", forged),
            requests.PutOne(2, "../q", 2, 2, b"a"),
            requests.PutMany(3, "q", 3, [1], [b"a", b"b"]),
            requests.Ask(4, "no_such", "q", []),
            requests.Ask(5, "peek", "q", ["many"]),
            requests.Get(6, "q", 0, 0),
            requests.Get(7, "q", 1, 1, 0, 0.0, "body. ="),
        )
        codes = {}
        for _ in range(7):
            answer = client.hear()
            assert isinstance(answer, Failed)
            codes[answer.of] = answer.code
    assert codes == {
        1: "BadArgument",
        2: "InvalidName",
        3: "BadArgument",
        4: "BadArgument",
        5: "BadArgument",
        6: "BadArgument",
        7: "FilterError",
    }


def test_fuzz_through_a_live_socket() -> None:
    """Whatever is said, the server answers others; time-boxed."""
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    frames = [bytes(encode(message)) for message in FROM_CLIENT]
    with serve(limits=Limits(requests=5_000)) as served:
        began, rounds = time.monotonic(), 0
        while time.monotonic() - began < 2.0:
            with Raw(served.url) as client:
                client.hello()
                data = bytearray(b"".join(chance.choices(frames, k=20)))
                for _ in range(chance.randrange(8)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
                try:
                    client.socket.sendall(data)
                except OSError:
                    pass
                rounds += 20
        asyncio.run(works(served.url)), f"seed {seed}"
    assert rounds > 100


def test_limits_of_rate() -> None:
    with serve(limits=Limits(requests_per_s=50)) as served, Raw(served.url) as client:
        client.hello()
        began = time.monotonic()
        client.socket.sendall(encode_all([requests.Ping(number) for number in range(120)]))
        for number in range(120):
            assert client.hear() == Pong(number)
        client.say(requests.Ping(120))  # 120 in a row are over the 50 that may come at once
        assert client.hear() == Pong(120)
        assert time.monotonic() - began > 1.0


@pytest.mark.parametrize(
    "text",
    ["tcp://", "tcp://x:y", "tcp://x:70000", "http://x", "unix:", "x:1", "unix:" + "a" * 200, ""],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadArgument):
        parse_address(text)


@pytest.mark.parametrize("text", ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:0"])
def test_addresses_that_others_can_reach_are_refused(text: str) -> None:
    with pytest.raises(BadArgument), serve(listen=text):
        pass


def test_unix_sockets(tmp_path: Path) -> None:
    place = tmp_path / "socket"
    listen_unix(str(place)).close()  # stale: nobody listens
    with serve(listen=f"unix:{place}"):
        assert place.stat().st_mode & 0o777 == 0o600
        with pytest.raises(BadArgument, match="another server"), serve(listen=f"unix:{place}"):
            pass
    assert not place.exists()
    place.write_text("mine")
    with pytest.raises(BadArgument, match="not a socket"), serve(listen=f"unix:{place}"):
        pass
    assert place.read_text() == "mine"


def test_a_unix_socket_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("missing/socket", "file/socket"):
        with pytest.raises(BadArgument, match="cannot listen at .*directory"):
            listen_unix(str(tmp_path / place))
