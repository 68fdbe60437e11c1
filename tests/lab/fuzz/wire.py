"""The protocol's decoder, in both directions: see `wire_target`."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from posthouse.errors import ProtocolError
from posthouse.wire.answers import Welcome
from posthouse.wire.connection import ClientSide, ServerSide, encode
from posthouse.wire.format import LEAST_FRAME_BYTES, LENGTH_BYTES
from posthouse.wire.requests import Hello
from tests.lab.fuzz.messages import CLIENTS, SERVERS, draw
from tests.lab.fuzz.mutate import mutate

Side = ServerSide | ClientSide

PER_SOUND: Final = 50
MEASURED: Final = 500
"""One input of so many is measured for the memory that it costs: that is slow."""
PER_BYTE: Final = 200
"""Memory for a byte that came: what costs most is many empty lists and maps (64 each), twice."""
SPARE_BYTES: Final = 64 * 1024
HELLO: Final = bytes(encode(Hello(1, 1)))
WELCOME: Final = bytes(encode(Welcome(1, bytes(16), False, 1 << 41, 0, 20.0, 1 << 20, 1, 1, [])))


def server_side() -> ServerSide:
    """What a server hears with, after the hello."""
    side = ServerSide(LEAST_FRAME_BYTES)
    side.receive(HELLO)
    return side


def client_side() -> ClientSide:
    """What a client hears with, after the welcome."""
    side = ClientSide(LEAST_FRAME_BYTES)
    side.receive(WELCOME)
    return side


def requests(random: Random) -> Iterator[None]:
    """`wire_target`, from clients."""
    return wire_target(random, server_side, CLIENTS)


def answers(random: Random) -> Iterator[None]:
    """`wire_target`, from servers."""
    return wire_target(random, client_side, SERVERS)


def wire_target(
    random: Random, make: Callable[[], Side], kinds: tuple[type, ...]
) -> Iterator[None]:
    """What one side hears is what the other said; what is damaged is refused, or is a message.

    1. Decoded, an encoded message is itself (so told by its bytes: NaN equals nothing).
    2. However it is cut, the same bytes give the same messages, or the same refusal.
    3. Nothing is raised but ProtocolError, and then nothing more is taken in.
    4. A frame over the limit is not decoded; what is kept of one that is not whole is no more
       than came, and no more than a frame may have; what decodes is in proportion to its bytes.
    """
    step = 0
    while True:
        sound = bytes(encode(draw(random.choice(kinds), random)))
        check_sound(make(), sound)
        for _ in range(PER_SOUND):
            data = damaged(sound, random)
            step += 1
            if step % MEASURED == 0:
                check_memory(make, data)
            check_damaged(make, data, random.randrange(1, 40))
            yield


def damaged(sound: bytes, random: Random) -> bytes:
    """A frame with changes: mostly in its message, its length made to fit; else anywhere."""
    if random.random() < 0.25:
        return mutate(sound * random.randrange(1, 3), random)
    message = mutate(sound[LENGTH_BYTES:], random)
    return len(message).to_bytes(LENGTH_BYTES) + message


def check_sound(side: Side, data: bytes) -> None:
    """A sound frame, whole."""
    found = heard(side, [data])
    assert found == [data], data.hex()
    assert side.pending_bytes == 0, data.hex()


def check_damaged(make: Callable[[], Side], data: bytes, size: int) -> None:
    """A damaged frame: whole, and in pieces of ``size`` bytes."""
    side = make()
    whole = heard(side, [data])
    pieces = heard(make(), [data[at : at + size] for at in range(0, len(data), size)])
    assert whole == pieces, (size, data.hex())
    if whole is None:
        # Nothing goes on after a refusal.
        assert heard(side, [HELLO]) is None, data.hex()
        return
    assert side.pending_bytes <= min(len(data), LENGTH_BYTES + LEAST_FRAME_BYTES), data.hex()
    for again in whole:
        # What is left out at the end of a message has its default, short floats become long.
        assert len(again) <= 2 * len(data) + 200, data.hex()
        check_sound(make(), again)


def heard(side: Side, pieces: list[bytes]) -> list[bytes] | None:
    """The messages in these bytes, each as it is written; None: they were refused."""
    found: list[Any] = []
    try:
        for piece in pieces:
            found += side.receive(piece)
    except ProtocolError:
        return None
    return [bytes(encode(message)) for message in found]


def check_memory(make: Callable[[], Side], data: bytes) -> None:
    """What it costs to hear it is in proportion to the bytes that came, whatever they claim."""
    side = make()
    tracemalloc.start()
    try:
        try:
            side.receive(data)
        except ProtocolError:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= SPARE_BYTES + PER_BYTE * len(data), (peak, data.hex())
