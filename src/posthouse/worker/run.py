"""One run of a worker, from its first take to its last give-back.

The order at the end matters: stop taking, let handlers finish (bounded), cancel what is left, give
back what they hold, and only then stop renewing leases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final, TypeAlias

from posthouse.worker.attempt import log
from posthouse.worker.consumer import Consumer

CANCEL_GRACE_S: Final = 5.0
"""How long handlers have to end after they were cancelled, seconds."""

_PLACES_SHOWN: Final = 5

Tasks: TypeAlias = "list[asyncio.Task[Any]]"


class Run:
    """Serves the consumers until stopped, or until one of them fails.

    Args:
        drain_timeout_s: how long handlers may go on after the first stop, seconds.

    Attributes:
        abandoned: handlers that were still running when the run had to end.
    """

    def __init__(self, drain_timeout_s: float) -> None:
        self._consumers: list[Consumer] = []
        self._drain_timeout_s = drain_timeout_s
        self._takers: Tasks = []
        self._draining = asyncio.Event()
        self._hard = asyncio.Event()
        self.abandoned = 0

    def stop(self, why: str = "stop()") -> None:
        """Drain; when already draining, stop hard."""
        if not self._draining.is_set():
            log.info("%s: draining for at most %g s", why, self._drain_timeout_s)
            self._draining.set()
            for taker in self._takers:
                taker.cancel()
        else:
            log.warning("%s: stopping at once", why)
            self._hard.set()

    async def serve(self, consumers: list[Consumer], drained: Callable[[], None]) -> None:
        """Take and run, then drain. Stopped before it began, it takes nothing.

        ``drained`` is called when handlers have had their time, before those left are cancelled.

        Raises:
            Whatever kept a consumer from taking, renewing or settling, after handlers were
            cancelled and what they held was given back.
        """
        if self._draining.is_set():
            return
        self._consumers = consumers
        self._takers = [_spawn(consumer.take()) for consumer in self._consumers]
        keepers = [_spawn(consumer.renew()) for consumer in self._consumers]
        keepers += [_spawn(consumer.fault()) for consumer in self._consumers]
        try:
            await self._serve(keepers)
            await _cancel(self._takers)
            await self._drain(keepers)
        finally:
            drained()
            await _cancel(self._takers)
            await self._end_hands()
            await _cancel(keepers)

    async def _serve(self, keepers: Tasks) -> None:
        stopped = _spawn(self._draining.wait())
        taking = set(self._takers)
        try:
            while taking and not stopped.done():
                done, _ = await asyncio.wait(
                    {*taking, *keepers, stopped}, return_when=asyncio.FIRST_COMPLETED
                )
                _raise_fault(done)
                taking -= done
        finally:
            await _cancel([stopped])

    async def _drain(self, keepers: Tasks) -> None:
        finished = _spawn(self._finished())
        hard = _spawn(self._hard.wait())
        try:
            done, _ = await asyncio.wait(
                {finished, hard, *keepers},
                timeout=self._drain_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            _raise_fault(done)
        finally:
            await _cancel([finished, hard])

    async def _finished(self) -> None:
        for consumer in self._consumers:
            await consumer.finished()

    async def _end_hands(self) -> None:
        running = [hand for consumer in self._consumers for hand in consumer.in_hand]
        for hand in running:
            hand.cancel()
        if running:
            log.warning("cancelling %d handlers", len(running))
            _, stuck = await asyncio.wait(running, timeout=CANCEL_GRACE_S)
            self.abandoned = len(stuck)
            for hand in stuck:
                log.error("%s ignores its cancellation at %s", hand.get_name(), _where(hand))
        for consumer in self._consumers:
            await consumer.give_back()


def _spawn(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.create_task(work)


async def _cancel(tasks: Tasks) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_fault(done: Iterable[asyncio.Task[Any]]) -> None:
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _where(hand: asyncio.Task[None]) -> str:
    """Where a handler waits: the innermost place last (a task's own stack has only the first)."""
    places: list[str] = []
    waiting: Any = hand.get_coro()
    while (frame := getattr(waiting, "cr_frame", None)) is not None:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}")
        waiting = waiting.cr_await
    return ", ".join(places[-_PLACES_SHOWN:]) or "an unknown place"
