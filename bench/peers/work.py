"""What the producer and the consumer of each row do, whoever the peer is."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter, perf_counter_ns

from bench.peers.board import Board
from bench.peers.flushes import flushes
from bench.peers.model import Client, Produce
from bench.peers.rows import BACKLOG, BATCH, PACE_PER_SECOND, TASKS

LOOK_S = 0.005
LINGER_S = 0.3
STAMP_BYTES = 8


@dataclass(frozen=True)
class Mark:
    """A moment: the clock that all processes of a machine share, and the device's flushes."""

    at_ns: int
    flushes: int | None

    @classmethod
    def now(cls, device: str | None) -> Mark:
        """This moment."""
        return cls(perf_counter_ns(), flushes(device))


@dataclass(frozen=True)
class Report:
    """What a worker says at its end.

    Attributes:
        messages: that it put, or took and settled.
        started: before the first of them.
        ended: after the last of them.
        p50_us: the median wait, in the rows that measure one.
    """

    messages: int
    started: Mark
    ended: Mark
    p50_us: float | None = None


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do.

    Attributes:
        device: whose flushes to count.
        board: the path of the `Board`.
    """

    produce: Produce
    together: bool
    seconds: float
    size_bytes: int
    device: str | None
    board: str


class Sent:
    """What a producer has put, and how long it waited for each, where that is measured."""

    def __init__(self) -> None:
        self.messages = 0
        self.waits_us: list[float] = []


async def produce(client: Client, task: Task, board: Board) -> Report:
    """Put as the row says for as long as it says; then say how many there were in all."""
    sent = Sent()
    started = Mark.now(task.device)
    await _PRODUCERS[task.produce](client, task, board, sent)
    ended = Mark.now(task.device)
    board.expected = sent.messages
    return Report(sent.messages, started, ended, _median(sent.waits_us))


async def _batches(client: Client, task: Task, board: Board, sent: Sent) -> None:
    bodies = [b"x" * task.size_bytes] * BATCH
    deadline = perf_counter() + task.seconds
    while perf_counter() < deadline:
        while sent.messages - board.received > BACKLOG:
            await asyncio.sleep(LOOK_S)
        await client.put_many(bodies)
        sent.messages += BATCH


async def _tasks(client: Client, task: Task, board: Board, sent: Sent) -> None:
    body = b"x" * task.size_bytes
    deadline = perf_counter() + task.seconds

    async def one() -> None:
        put = client.put
        while perf_counter() < deadline:
            await put(body)
            sent.messages += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(one())


async def _singly(client: Client, task: Task, board: Board, sent: Sent) -> None:
    body = b"x" * task.size_bytes
    before = perf_counter()
    deadline = before + task.seconds
    while before < deadline:
        await client.put(body)
        after = perf_counter()
        sent.waits_us.append((after - before) * 1e6)
        sent.messages += 1
        before = after


async def _paced(client: Client, task: Task, board: Board, sent: Sent) -> None:
    padding = b"x" * max(0, task.size_bytes - STAMP_BYTES)
    turn = perf_counter()
    deadline = turn + task.seconds
    while turn < deadline:
        await asyncio.sleep(max(0.0, turn - perf_counter()))
        await client.put(perf_counter_ns().to_bytes(STAMP_BYTES, "big") + padding)
        sent.messages += 1
        turn += 1 / PACE_PER_SECOND


_PRODUCERS: dict[Produce, Callable[[Client, Task, Board, Sent], Awaitable[None]]] = {
    "batches": _batches,
    "tasks": _tasks,
    "singly": _singly,
    "paced": _paced,
}


async def consume(client: Client, task: Task, board: Board) -> Report:
    """Take and settle until everything that was put was got, and see that no more comes."""
    board.ready = True
    while not task.together and board.expected < 0:
        await asyncio.sleep(LOOK_S)
    waits_us: list[float] = []
    started = last = Mark.now(task.device)

    async def taking() -> None:
        nonlocal last
        stamped = task.produce == "paced"
        # One at a time where they come one at a time: some peers need a second question for more.
        most = 1 if stamped else BATCH
        while True:
            bodies = await client.take(most)
            if stamped:
                now_ns = perf_counter_ns()
                waits_us.extend((now_ns - stamp_of(body)) / 1e3 for body in bodies)
            await client.settle()
            # The flushes are read once, at the end.
            last = Mark(perf_counter_ns(), None)
            board.received += len(bodies)

    taker = asyncio.ensure_future(taking())
    while not taker.done() and (board.expected < 0 or board.received < board.expected):
        await asyncio.wait([taker], timeout=LOOK_S)
    ended = Mark(last.at_ns, flushes(task.device))
    # A message too many would be there by now, or come at once.
    linger_until = perf_counter() + LINGER_S
    while not taker.done() and board.received <= board.expected and perf_counter() < linger_until:
        await asyncio.wait([taker], timeout=LOOK_S)
    if taker.done():
        taker.result()
    taker.cancel()
    await asyncio.wait([taker])
    return Report(board.received, started, ended, _median(waits_us))


def stamp_of(body: bytes) -> int:
    """When the producer put it, nanoseconds of the clock that both share."""
    return int.from_bytes(body[:STAMP_BYTES], "big")


def _median(values: list[float]) -> float | None:
    return median(values) if values else None
