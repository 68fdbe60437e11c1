"""What becomes of what was said to a server that is gone, when another one answers."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from posthouse.errors import LeaseExpired, UnknownOutcome
from posthouse.link.call import Call
from posthouse.wire.requests import PutEach

_LOST = (
    "the server was restarted, and with it all leases are over: the message is delivered again, "
    "unless this was written before"
)


class Saying(Protocol):
    """What this needs of a link."""

    def finish(self, call: Call) -> None: ...
    def renumber(self, call: Call, messages: list[tuple[Any, asyncio.Future[Any]]]) -> None: ...


def restarted(link: Saying, call: Call) -> None:
    """Let a request be said again, marked where that counts, or refuse it (see `call.Restart`)."""
    if call.abandoned:
        link.finish(call)
    elif call.restart == "lease":
        ids = getattr(call.message, "ids", None) or [getattr(call.message, "message", 0)]
        for part in range(len(call.futures)):
            numbers = [ids[part]] if len(call.futures) > 1 else ids
            call.refuse(part, LeaseExpired(_LOST, numbers))
        link.finish(call)
    elif not call.sent:
        return
    elif call.restart == "unknown":
        call.refuse_all(
            UnknownOutcome("the server was restarted before it answered: it may be done or not")
        )
        link.finish(call)
    elif call.restart == "again":
        call.message.again = True
        if isinstance(call.message, PutEach) and call.left < len(call.futures):
            _unanswered(link, call)


def _unanswered(link: Saying, call: Call) -> None:
    """Say only those parts again that were not answered: others may be settled and forgotten."""
    whole = call.message
    parts: list[tuple[Any, asyncio.Future[Any]]] = []
    for part, future in enumerate(call.futures):
        if future is not None:
            body, kind = whole.bodies[part], whole.kinds[part]
            one = PutEach(0, whole.queue, whole.sequence + part, [kind], [body], True)
            parts.append((one, future))
    link.renumber(call, parts)
