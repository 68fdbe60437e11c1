"""Ending a listener, without losing whom it was just letting in."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

_TURNS: Final = 5
"""More of the loop than a socket needs from being accepted to `connection_made`."""


async def stop_listening(*listeners: asyncio.Server) -> None:
    """Close listeners; who was accepted before has a connection when this returns.

    asyncio accepts a socket in one turn of its loop and gives it a transport in a later one. A
    listener that is closed between the two makes that fail (python/cpython#109564): nobody then
    closes the socket, and its protocol never hears of a transport. So reading from the listening
    sockets ends first, and they are closed when what they had accepted is through.
    """
    loop = asyncio.get_running_loop()
    try:
        for listener in listeners:
            for listening in listener.sockets:
                with contextlib.suppress(NotImplementedError):  # a loop that has no readers
                    loop.remove_reader(listening.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
    finally:
        for listener in listeners:
            listener.close()
