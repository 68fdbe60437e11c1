"""Transactions over a link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec

from posthouse.errors import BadArgument, MessageTooLarge, UnknownOutcome
from posthouse.link.link import Link
from posthouse.model import MAX_BATCH_BYTES
from posthouse.wire.requests import Commit, PublishStep, PutStep

DECIDE_S: Final = 5.0
"""How long a cancelled commit waits to hear whether it was done."""


PUBLISH_SEQUENCES: Final = 1 << 20


class Owned:
    """A step with the link that it was made for."""

    __slots__ = ("link", "step")

    def __init__(self, link: Link, step: Any) -> None:
        self.link = link
        self.step = step


async def commit(
    link: Link, steps: list[Any], timeout_s: float | None, done: Callable[[], None]
) -> list[int]:
    """See `posthouse.backends.contract.Backend.commit`."""
    link.check()
    bare: list[Any] = []
    puts = size = 0
    for step in steps:
        if isinstance(step, Owned):
            if step.link is not link:
                raise BadArgument(f"queue {step.step.queue!r} is another broker's")
            step = step.step
        elif not isinstance(step, PublishStep):
            raise BadArgument("a queue or a message is another broker's")
        bare.append(step)
        if isinstance(step, (PutStep, PublishStep)):
            # A publish is a put on each queue that is bound, however many.
            puts += 1 if isinstance(step, PutStep) else PUBLISH_SEQUENCES
            size += len(step.body) + len(step.headers)
    if size > MAX_BATCH_BYTES:
        raise MessageTooLarge("the transaction", size, MAX_BATCH_BYTES)
    await link.room()
    request = Commit(0, link.sequences(puts), bare, timeout_s)
    call = link.call(request, "again", size)
    future = call.futures[0]
    assert future is not None
    try:
        answer = await asyncio.shield(future)
    except asyncio.CancelledError:
        await _decide(link, call, future, done)
        raise
    except UnknownOutcome:
        done()
        raise
    done()
    return msgspec.convert(answer, list[int])


async def _decide(link: Link, call: Any, future: asyncio.Future[Any], done: Any) -> None:
    """It was cancelled on the way: ask that it be stopped, and hear whether it was."""
    link.abandon(call)
    try:
        async with asyncio.timeout(DECIDE_S):
            await asyncio.wait([future])
    except (TimeoutError, asyncio.CancelledError):
        done()  # not known
        return
    if future.cancelled():
        return
    error = future.exception()
    if error is None or isinstance(error, UnknownOutcome):
        done()
