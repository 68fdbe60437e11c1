"""What all clients together may hold of a server's memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import posthouse
from posthouse.server import Limits
from posthouse.testing.cases.base import soon
from posthouse.testing.serving import ServedBroker, serve
from posthouse.wire import requests
from posthouse.wire.answers import Placed, Refused, Welcome
from tests.server.raw import Raw

FRAME_BYTES = 1_000_000
SLOW = 5
TIGHT = Limits(memory_bytes=2_500_000, frame_bytes=2 * FRAME_BYTES, write_s=0.5, heartbeat_s=30.0)
"""Two unfinished frames may be there, and not three."""


@pytest.fixture
def served() -> Iterator[ServedBroker]:
    with serve(limits=TIGHT) as found:
        yield found


def until(check: Callable[[], bool]) -> None:
    """Look until it is so; a test that waits in vain runs into its own timeout."""
    while not check():
        time.sleep(0.01)


def begin(client: Raw) -> None:
    """All of a frame but its end, as far as the server takes it."""
    client.socket.settimeout(0.2)
    try:
        client.socket.sendall(FRAME_BYTES.to_bytes(4) + b"x" * (FRAME_BYTES - 1))
    except TimeoutError:
        pass  # it is not read from any more
    client.socket.settimeout(10.0)


def test_unfinished_frames_do_not_fill_the_server(served: ServedBroker) -> None:
    """Slow-loris after the hello: who holds the most is cut off, and the others go on."""
    server = served.server
    with ExitStack() as stack:
        honest = stack.enter_context(Raw(served.url))
        slow = [stack.enter_context(Raw(served.url)) for _ in range(SLOW)]
        for client in (honest, *slow):
            assert isinstance(client.hello(), Welcome)
        for client in slow:
            begin(client)
        peak = 0

        def relieved() -> bool:
            nonlocal peak
            held, short = served.call(lambda: (server.held_bytes(), server.short_of_memory))
            peak = max(peak, held)
            return server.connections < 1 + SLOW and not short

        until(relieved)
        # Within a look of the server's, a second, no more than the frames that were begun.
        assert peak <= SLOW * (FRAME_BYTES + 4)
        # Not everybody: who had little was left in peace, and goes on.
        assert served.call(lambda: server.connections) > 1
        honest.say(requests.PutOne(1, "q", 1, 2, b"x" * 100_000))
        assert isinstance(honest.hear(), Placed)


def test_nobody_new_comes_while_it_is_short(served: ServedBroker) -> None:
    server = served.server
    with Raw(served.url) as one, Raw(served.url) as two, Raw(served.url) as three:
        for client in (one, two, three):
            client.hello()
            begin(client)
        until(lambda: served.call(lambda: server.short_of_memory))
        with Raw(served.url) as late:
            refused = late.hello()
            assert isinstance(refused, Refused)
            assert "memory" in refused.text
            assert not refused.final

    async def comes() -> None:
        async with posthouse.open(served.url, connect_timeout_s=20) as broker:
            await soon(broker.queue("q").put(1))

    asyncio.run(comes())  # as soon as there is memory again
