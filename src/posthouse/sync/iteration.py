"""``for`` over what is an ``async for`` on the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, NoReturn, TypeVar

from posthouse import message as aio
from posthouse.sync.calls import Box
from posthouse.sync.message import Message, messages_of
from posthouse.sync.portal import Portal, refuse_copies

T = TypeVar("T")

Undo = Callable[[list[aio.Message[Any]]], Awaitable[None]]


class MessageIterator(Iterator[Message[T]]):
    """Messages from an asynchronous iterator, ``most`` for each way to the loop."""

    __slots__ = ("_ahead", "_box", "_most", "_portal", "_undo")

    def __init__(
        self,
        portal: Portal,
        begin: Callable[[], AsyncIterator[aio.Message[T]]],
        most: int,
        undo: Undo | None,
    ) -> None:
        self._portal = portal
        self._most = most
        self._undo = undo
        self._ahead: list[Message[T]] = []  # the next one last
        self._box: Box[aio.Message[T]] = portal.run(lambda: portal.box(Box(begin())))

    def __next__(self) -> Message[T]:
        if not self._ahead:
            self._ahead = self._portal.take(
                partial(self._box.pull, self._most), self._made, self._undo
            )
            if not self._ahead:
                raise StopIteration
        return self._ahead.pop()

    def _made(self, pulled: list[aio.Message[T]]) -> list[Message[T]]:
        pulled.reverse()
        return messages_of(self._portal, pulled)

    def close(self) -> None:
        """Put back what was set aside. Leaving the loop does so, soon."""
        self._ahead.clear()
        self._portal.run(self._box.clear)

    def __del__(self) -> None:
        # Making it may have failed.
        if hasattr(self, "_box"):
            self._portal.drop(self._box)

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)
