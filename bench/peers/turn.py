"""One row of one contender once: two workers and a server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

import msgspec

from bench.peers.board import Board
from bench.peers.model import Contender, Ends, Measured, Row, Settings
from bench.peers.packages import Place
from bench.peers.server import Server
from bench.peers.work import Report, Task
from bench.peers.worker import Order

ROOT = Path(__file__).resolve().parent.parent.parent
GIVE_UP_FACTOR = 6.0
LOOK_S = 0.05
LAST_WORDS = 300


class TurnFailed(Exception):
    """A worker failed, a message was lost or came twice, or it took too long."""


def turn(
    row: Row,
    contender: Contender,
    place: Place,
    server: Server,
    directory: Path,
    settings: Settings,
    device: str | None,
) -> Measured:
    """One row once: a consumer that is ready, then a producer, both to their end.

    Raises:
        TurnFailed: see there.
        ServerFailed: the server ended.
    """
    path = directory / f"board-{row.name.replace(' ', '-')}"
    task = Task(
        row.produce,
        row.together,
        settings.seconds,
        settings.size_bytes,
        device,
        str(path),
    )
    deadline = time.monotonic() + GIVE_UP_FACTOR * settings.seconds + settings.patience_s
    queue = "bench-" + "".join(letter for letter in row.name.lower() if letter.isalnum())

    def worker(role: Literal["producer", "consumer"]) -> _Worker:
        wake = row.produce == "paced"
        ends = Ends(server.port, queue, role, wake, contender.mode.settings)
        order = Order(contender.mode.client or contender.peer.client, settings.loop, ends, task)
        return _Worker(order, place.python_path, directory)

    with Board.create(path) as board, worker("consumer") as consumer:
        while not board.ready:
            _look(consumer, server, deadline)
        with worker("producer") as producer:
            while producer.running:
                _look(producer, server, deadline)
                # Told how many there are, it may well be gone before the producer is.
                if not consumer.running and board.expected < 0:
                    consumer.report()  # raises, if it failed
                    raise TurnFailed("the consumer ended before the producer")
            sent = producer.report()
        while consumer.running:
            _look(consumer, server, deadline)
        got = consumer.report()
    if sent.messages != got.messages:
        raise TurnFailed(f"{sent.messages:,} messages were put and {got.messages:,} were got")
    return measured_of(row, sent, got)


def measured_of(row: Row, sent: Report, got: Report) -> Measured:
    """The row's number from what both sides say.

    Raises:
        TurnFailed: nothing was put.
    """
    if not sent.messages:
        raise TurnFailed("nothing was put")
    # Until all is settled where the work is a flow; else what happened while it was put.
    ended = got.ended if row.produce == "batches" else sent.ended
    if row.unit == "us":
        waits = got.p50_us if row.produce == "paced" else sent.p50_us
        assert waits is not None
        value = waits
    else:
        value = sent.messages / ((ended.at_ns - sent.started.at_ns) / 1e9)
    before, after = sent.started.flushes, ended.flushes
    flushed = None if before is None or after is None else after - before
    return Measured(value, sent.messages, flushed)


class _Worker:
    """A worker's process; leaving it ends it."""

    def __init__(self, order: Order, python_path: Sequence[Path], directory: Path) -> None:
        self._role = order.ends.role
        self._output = self._file(directory, "out")
        self._errors = self._file(directory, "err")
        paths = [*python_path, ROOT, ROOT / "src"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.peers.worker"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._errors,
        )
        assert self._process.stdin is not None
        with self._process.stdin as pipe:
            pipe.write(msgspec.json.encode(order))

    def _file(self, directory: Path, kind: str) -> IO[bytes]:
        return (directory / f"{self._role}.{kind}").open("w+b")

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._errors.close()

    @property
    def role(self) -> str:
        return self._role

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass

    def report(self) -> Report:
        """What it wrote, when it has ended; `TurnFailed` with its last words if it failed."""
        self._errors.seek(0)
        words = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        if self._process.returncode != 0:
            said = words[-1][-LAST_WORDS:] if words else f"status {self._process.returncode}"
            raise TurnFailed(f"the {self._role} failed: {said}")
        self._output.seek(0)
        return msgspec.json.decode(self._output.read(), type=Report)


def _look(worker: _Worker, server: Server, deadline: float) -> None:
    """Wait a little for the worker; raise when there is nothing to wait for."""
    worker.wait(LOOK_S)
    server.check()
    if time.monotonic() > deadline:
        raise TurnFailed(f"gave up: the {worker.role} did not come to its end")
    if not worker.running:
        worker.report()
