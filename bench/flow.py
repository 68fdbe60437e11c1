"""One producer and one consumer that run for a time, counted and clocked the same for everybody."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

CHUNK = 100
"""Messages between two looks at the clock."""


class Flow:
    """Counts what goes through between a producer and a consumer.

    The producer asks `running` between chunks and adds to ``sent``; the consumer adds to
    ``received`` (plain attributes: a call for each message would cost the fastest rows a tenth)
    and ends when that is ``expected``.

    Attributes:
        sent: messages put so far.
        received: messages taken and settled so far.
        expected: -1 while there may be more, then how many there were in all.
    """

    def __init__(self, seconds: float) -> None:
        self.sent = 0
        self.received = 0
        self.expected = -1
        self._started = perf_counter()
        self._deadline = self._started + seconds

    def running(self) -> bool:
        """Whether the producer should go on."""
        return perf_counter() < self._deadline

    def rate(self) -> float:
        """Messages a second from the start until now, when all were settled."""
        elapsed = perf_counter() - self._started
        if self.received != self.sent or not self.received:
            raise RuntimeError(f"{self.sent} messages were put and {self.received} were got")
        return self.received / elapsed


async def pump(
    seconds: float,
    produce: Callable[[Flow], Awaitable[None]],
    consume: Callable[[Flow], Awaitable[None]],
    producers: int = 1,
) -> float:
    """Run both sides until the time is up and everything put was got; messages a second."""
    flow = Flow(seconds)
    consumer: asyncio.Future[Any] = asyncio.ensure_future(consume(flow))
    tasks = [asyncio.ensure_future(produce(flow)) for _ in range(producers)]
    together: asyncio.Future[Any] = asyncio.gather(*tasks)
    await asyncio.wait([together, consumer], return_when=asyncio.FIRST_COMPLETED)
    if not together.done():
        for task in tasks:
            task.cancel()
        consumer.result()
        raise RuntimeError("the consumer ended before the producer")
    await together
    flow.expected = flow.sent
    if flow.received == flow.sent:
        # It has got everything and waits for more.
        rate = flow.rate()
        consumer.cancel()
        await asyncio.wait([consumer])
        return rate
    await consumer
    return flow.rate()


def pump_inline(seconds: float, cycle: Callable[[], int]) -> float:
    """Call ``cycle`` (put, get and settle some, return how many) until the time is up."""
    started = perf_counter()
    deadline = started + seconds
    count = 0
    while perf_counter() < deadline:
        count += cycle()
    return count / (perf_counter() - started)


async def wait_us(
    seconds: float, step: Callable[[], Awaitable[object]], share: float = 0.5
) -> float:
    """Await ``step`` again and again; a percentile of how long it took, microseconds.

    ``share`` is which one: 0.5 for the median, 0.99 for the wait that one in a hundred exceeds.
    A step that starves (it happens: see `bench.references.disk`) is given up after a while, and
    what it waited until then counts.
    """
    times: list[float] = []
    deadline = perf_counter() + seconds
    before = perf_counter()
    try:
        async with asyncio.timeout(3 * seconds):
            while before < deadline:
                await step()
                after = perf_counter()
                times.append(after - before)
                before = after
    except TimeoutError:
        times.append(perf_counter() - before)
    times.sort()
    return times[min(int(len(times) * share), len(times) - 1)] * 1e6
