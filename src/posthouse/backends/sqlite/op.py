"""A call on its way to the writer's thread and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

from posthouse.backends.sqlite.books import Books

NOT_YET: Final = object()
"""What a call answers when it has to wait."""

Work: TypeAlias = "Callable[[Books, Op], Any]"
Undo: TypeAlias = "Callable[[Books, Op], None]"
Wants: TypeAlias = 'Literal["room", "message", "match", "end"]'


class Op:
    """One call: what to do inside a transaction, and who wants to know.

    ``work`` raises a `PosthouseError` before it changes anything, or does all of it; it returns
    `NOT_YET` when it has to wait for what it ``wants``: room, any message, one that matches, or
    the end of all.

    Attributes:
        queue: where it waits; a work may change it.
        parks: whether it may wait at all; else `NOT_YET` is a TimeoutError.
        ahead: others stand in line for room before it.
        cancelled: nobody wants it any more; it is not begun.
        parked_in: the queue in whose line it waits; "" before it had to.
        late: its time is up; it is tried once, if it was not yet.
        undo: takes an answer back, in a later transaction, that nobody waits for any more.
        size_bytes: of what it writes, about: a transaction takes only so much.
        done: called on the loop with an answer, before anybody who waits goes on.
    """

    __slots__ = (
        "ahead",
        "answer",
        "answered",
        "cancelled",
        "done",
        "error",
        "future",
        "late",
        "parked_in",
        "parks",
        "queue",
        "size_bytes",
        "undo",
        "wants",
        "work",
    )

    def __init__(
        self,
        work: Work,
        *,
        queue: str = "",
        wants: Wants | None = None,
        parks: bool = True,
        undo: Undo | None = None,
        done: Callable[[Any], None] | None = None,
    ) -> None:
        self.work = work
        self.queue = queue
        self.wants = wants
        self.parks = parks
        self.undo = undo
        self.done = done
        self.future: asyncio.Future[Any] | None = None
        self.answered = self.cancelled = self.late = self.ahead = False
        self.parked_in = ""
        self.answer: Any = None
        self.size_bytes = 0
        self.error: BaseException | None = None

    def resolve(self) -> None:
        """Hand the answer over, on the loop."""
        if self.error is None and self.done is not None:
            self.done(self.answer)
        future = self.future
        if future is None or future.done():
            return
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(self.answer)
