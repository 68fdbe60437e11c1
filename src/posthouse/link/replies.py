"""What becomes of what a server says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from posthouse.errors import BrokerClosed, LeaseExpired
from posthouse.link.call import Call
from posthouse.link.held import Holdings
from posthouse.wire import answers, failures
from posthouse.wire.requests import GiveBack, PutEach, Renew

logger = logging.getLogger("posthouse.link")


class Hearing(Protocol):
    """What this needs of a link."""

    outstanding: dict[int, Call]
    holdings: Holdings
    feeds: Any
    closing: bool
    farewell: asyncio.Future[None]

    def part_done(self, call: Call) -> None: ...
    def finish(self, call: Call) -> None: ...
    def give_back(self, queue: str, token: int, ids: list[int]) -> None: ...


def _placed(link: Hearing, message: answers.Placed) -> None:
    call = link.outstanding.get(message.of)
    if call is None:
        return
    if isinstance(call.message, PutEach):
        call.resolve_run(message.part, message.first, message.count)
    else:
        call.resolve(0, message.first)
    link.part_done(call)


def _done(link: Hearing, message: answers.Done) -> None:
    call = link.outstanding.get(message.of)
    if call is None:
        return
    if not call.futures:
        link.finish(call)
        return
    for part in range(message.part, message.part + message.count):
        call.resolve(part, None)
    link.part_done(call)


def _delivered(link: Hearing, message: answers.Delivered) -> None:
    call = link.outstanding.get(message.of)
    if call is None:
        return
    queue = call.message.queue
    future = call.futures[0]
    if call.abandoned:
        link.finish(call)  # the server gives it back at the Cancel
        return
    if future is None or future.done():
        link.finish(call)
        link.give_back(queue, message.token, [entry[0] for entry in message.entries])
        return
    link.holdings.add(message.token, queue, message.lease_ns, len(message.entries))
    call.resolve(0, message)
    link.finish(call)


def _answer(link: Hearing, message: answers.Answer) -> None:
    call = link.outstanding.get(message.of)
    if call is None:
        return
    if isinstance(call.message, Renew):
        for token in message.value or ():
            link.holdings.drop(token)
    call.resolve(0, message.value)
    link.finish(call)


def _failed(link: Hearing, message: answers.Failed) -> None:
    error: Exception
    call = link.outstanding.get(message.of)
    if call is None:
        feed = link.feeds.pop(message.of, None)
        if feed is not None:
            feed.refused(failures.raised(message))
        return
    if message.code == failures.CANCELLED and call.instead is not None:
        error = call.instead
    elif message.code == failures.CANCELLED and link.closing:
        error = BrokerClosed("the broker is closed; open it again")
    else:
        error = failures.raised(message)
    if isinstance(error, LeaseExpired) and isinstance(call.message, GiveBack):
        logger.debug("given back too late: %s", error)
    call.refuse(message.part, error)
    if call.futures:
        if call.left <= 0:
            link.finish(call)
    else:
        link.finish(call)


def _pushed(link: Hearing, message: answers.Pushed) -> None:
    feed = link.feeds.get(message.of)
    if feed is not None:
        feed.pushed(message)
    # What comes for one that is over, its Unsubscribe gives back.


def _recall(link: Hearing, message: answers.Recall) -> None:
    feed = link.feeds.get(message.of)
    if feed is not None:
        feed.recalled(every=message.every)


def _leaving(link: Hearing, message: answers.Leaving) -> None:
    logger.info("the server shuts down; waiting for it to come back")


def _farewell(link: Hearing, message: answers.Farewell) -> None:
    if not link.farewell.done():
        link.farewell.set_result(None)


HANDLERS: Final[dict[type, Callable[[Any, Any], None]]] = {
    answers.Placed: _placed,
    answers.Done: _done,
    answers.Delivered: _delivered,
    answers.Answer: _answer,
    answers.Failed: _failed,
    answers.Pushed: _pushed,
    answers.Recall: _recall,
    answers.Leaving: _leaving,
    answers.Farewell: _farewell,
}
