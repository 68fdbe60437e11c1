"""Both sides of a connection: the same bytes give the same messages, however they come."""

from __future__ import annotations

import random
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.errors import ProtocolError
from posthouse.wire import requests
from posthouse.wire.connection import ClientSide, ServerSide, encode, encode_all
from posthouse.wire.format import FRAME_BYTES, HELLO_BYTES
from tests.wire.messages import FROM_CLIENT, FROM_SERVER, HELLO, WELCOME, any_request


def server() -> ServerSide:
    side = ServerSide(1 << 20)
    assert side.receive(encode(HELLO)) == [HELLO]
    return side


def client() -> ClientSide:
    side = ClientSide(1 << 20)
    assert side.receive(encode(WELCOME)) == [WELCOME]
    return side


SIDES = [(server, FROM_CLIENT), (client, FROM_SERVER)]


@pytest.mark.parametrize(("make", "messages"), SIDES, ids=["server", "client"])
def test_the_same_bytes_whole_singly_and_in_any_pieces(make: Any, messages: list[Any]) -> None:
    data = bytes(encode_all(messages))
    assert make().receive(data) == messages
    side = make()
    singly = [found for at in range(len(data)) for found in side.receive(data[at : at + 1])]
    assert singly == messages
    assert side.pending_bytes == 0
    chance = random.Random(7)
    for _ in range(50):
        side, found, at = make(), [], 0
        while at < len(data):
            size = chance.randrange(1, 90)
            found += side.receive(data[at : at + size])
            at += size
        assert found == messages


@pytest.mark.parametrize(("make", "messages"), SIDES, ids=["server", "client"])
def test_every_prefix_says_need_more(make: Any, messages: list[Any]) -> None:
    for message in messages:
        data = bytes(encode(message))
        for end in range(len(data)):
            side = make()
            assert side.receive(data[:end]) == []
            assert side.receive(data[end:]) == [message]


@pytest.mark.parametrize(("make", "messages"), SIDES, ids=["server", "client"])
def test_garbage_after_what_is_whole(make: Any, messages: list[Any]) -> None:
    side = make()
    assert side.receive(encode_all(messages)) == messages
    with pytest.raises(ProtocolError):
        side.receive(b"\xff" * 9)
    with pytest.raises(ProtocolError):
        side.receive(encode(messages[0]))  # nothing is taken in after that


def test_a_length_of_four_gibibytes_is_refused_from_its_bytes() -> None:
    for side in (server(), client(), ServerSide(), ClientSide()):
        tracemalloc.start()
        with pytest.raises(ProtocolError, match="4,294,967,295"):
            side.receive(b"\xff\xff\xff\xff")
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()


def test_a_length_of_nothing() -> None:
    with pytest.raises(ProtocolError):
        server().receive(b"\0\0\0\0")


def test_before_the_hello_only_short_frames_and_hellos() -> None:
    with pytest.raises(ProtocolError, match="allowed here"):
        ServerSide().receive((HELLO_BYTES + 1).to_bytes(4))
    for message in FROM_CLIENT:
        with pytest.raises(ProtocolError):
            ServerSide().receive(encode(message))
    with pytest.raises(ProtocolError):
        ClientSide().receive(encode(FROM_SERVER[-1]))
    with pytest.raises(ProtocolError, match="once"):
        server().receive(encode(HELLO))


@pytest.mark.parametrize(("lowest", "highest"), [(2, 9), (0, 0), (5, 2)])
def test_versions_that_do_not_meet(lowest: int, highest: int) -> None:
    with pytest.raises(ProtocolError, match="version"):
        ServerSide().receive(encode(requests.Hello(lowest, highest)))


def test_a_later_client_may_add_fields_at_the_end() -> None:
    import msgspec

    body = msgspec.msgpack.encode([3, 7, "new", {"x": 1}])
    assert server().receive(len(body).to_bytes(4) + body) == [requests.Ping(7)]


def test_what_is_no_message() -> None:
    import msgspec

    for value in ([], [99], {"a": 1}, None, [3, "x"], [11, 1, 2], [20, 1, "q", -1.5, 3], "x"):
        body = msgspec.msgpack.encode(value)
        with pytest.raises(ProtocolError):
            server().receive(len(body).to_bytes(4) + body)
    deep = b"\x91" * 5000
    with pytest.raises(ProtocolError):
        server().receive(len(deep).to_bytes(4) + deep)


def test_a_large_frame_leaves_no_memory_behind() -> None:
    side = ServerSide(FRAME_BYTES)
    side.receive(encode(HELLO))
    data = bytes(encode(requests.PutMany(1, "q", 1, 2, [b"x" * 1000] * 3000)))
    tracemalloc.start()
    for at in range(0, len(data), 65536):
        found = side.receive(data[at : at + 65536])
    assert len(found) == 1
    del found
    assert tracemalloc.get_traced_memory()[0] < 100_000
    tracemalloc.stop()


@given(st.lists(any_request, max_size=8), st.integers(1, 64))
def test_any_messages_in_pieces(messages: list[Any], size: int) -> None:
    data = bytes(encode_all(messages))
    side, found = server(), []
    for at in range(0, len(data), size):
        found += side.receive(data[at : at + size])
    assert found == messages


def test_fuzz() -> None:
    """Nothing but ProtocolError is ever raised, and no more is kept than was sent.

    Inputs are messages with bytes changed, cut, doubled or inserted. Time-boxed; the seed is
    printed when it fails.
    """
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    sources: list[tuple[Any, list[bytes]]] = [(server, [bytes(encode(m)) for m in FROM_CLIENT])]
    sources.append((client, [bytes(encode(m)) for m in FROM_SERVER]))
    began, rounds = time.monotonic(), 0
    while time.monotonic() - began < 2.0:
        make, frames = sources[rounds % 2]
        rounds += 1
        data = bytearray(b"".join(chance.choices(frames, k=chance.randrange(1, 4))))
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(data)) if data else 0
            what = chance.randrange(4)
            if what == 0 and data:
                data[at] = chance.randrange(256)
            elif what == 1:
                del data[at : at + chance.randrange(1, 9)]
            elif what == 2:
                data[at:at] = chance.randbytes(chance.randrange(1, 9))
            else:
                data[at:at] = data[at : at + chance.randrange(1, 20)]
        side = make()
        try:
            for at in range(0, len(data), 37):
                side.receive(data[at : at + 37])
        except ProtocolError:
            continue
        except BaseException as error:
            raise AssertionError(f"seed {seed}, round {rounds}: {data.hex()}") from error
        assert side.pending_bytes <= len(data), f"seed {seed}, round {rounds}"
    assert rounds > 1000
