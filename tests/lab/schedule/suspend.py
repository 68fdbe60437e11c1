"""Cancel a coroutine at its n-th suspension."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Literal

When = Literal["waiting", "woken"]


class Suspended:
    """Awaits a coroutine and cancels its task at suspension number ``at`` (from 1).

    ``"waiting"``: while what it waits for has not come. ``"woken"``: just when it has come, before
    the task runs again: the moment in which hand-overs get lost.

    Attributes:
        hit: the cancellation was sent.
        count: suspensions so far.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int, when: When) -> None:
        self._coroutine = coroutine
        self._at = at
        self._when = when
        self._task: asyncio.Task[Any] | None = None
        self.hit = False
        self.count = 0

    async def run(self) -> Any:
        """The coroutine's result."""
        self._task = asyncio.current_task()
        return await self

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        send: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = steps.send(send) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            self.count += 1
            if self.count == self._at:
                self._arm(waited)
            send, error = None, None
            try:
                send = yield waited
            except BaseException as caught:
                error = caught

    def _arm(self, waited: Any) -> None:
        # The task adds its own callback after this one: the cancellation comes first.
        if self._when == "woken" and isinstance(waited, asyncio.Future):
            waited.add_done_callback(lambda done: self._cancel())
        else:
            asyncio.get_running_loop().call_soon(self._cancel)

    def _cancel(self) -> None:
        assert self._task is not None
        if not self._task.done():
            self.hit = True
            self._task.cancel("at a suspension")
