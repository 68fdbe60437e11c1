"""KeyboardInterrupt while a call is under way: nothing stays taken, and nothing hangs.

Real signals, in processes of their own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from posthouse import sync
from posthouse.sync import home
from tests.sync.helpers import nothing_left, python

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")

# After `tell()`: tells on stdout when the main thread is inside the portal's wait.
_TELL = """
import posthouse, posthouse.sync, sys, threading, time

def tell():
    threading.Thread(target=watch, daemon=True).start()

def watch():
    main = threading.main_thread().ident
    while sys._current_frames()[main].f_code.co_name != "_wait":
        time.sleep(0.001)
    print("waiting", flush=True)
"""


def interrupted(code: str, *arguments: str) -> tuple[int, str, str]:
    """Run code and send it SIGINT when it waits: exit code, stdout after that, stderr."""
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", _TELL + code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "waiting\n"
            child.send_signal(signal.SIGINT)
            output, errors = child.communicate(timeout=60)
        finally:
            child.kill()
    return child.returncode, output, errors


@pytest.mark.parametrize(
    "verb",
    ["queue.get()", "queue.get_many()", "next(iterator)", "queue.get(where='body > 1')"],
)
def test_a_consumer_that_waits(verb: str) -> None:
    code = f"""
with posthouse.sync.open("memory:") as broker:
    queue = broker.queue("q")
    iterator = iter(queue)
    tell()
    try:
        {verb}
    except KeyboardInterrupt:
        queue.put("a")
        stats = queue.stats()
        assert (stats.waiting, stats.in_flight) == (1, 0), stats
        print("interrupted")
"""
    assert interrupted(code) == (0, "interrupted\n", "")


def test_a_producer_that_waits_for_room() -> None:
    code = """
with posthouse.sync.open("memory:") as broker:
    queue = broker.queue("q", max_messages=1)
    queue.put("a")
    tell()
    try:
        queue.put("b")
    except KeyboardInterrupt:
        queue.get().ack()
        assert queue.stats().put == 1
        print("interrupted")
"""
    assert interrupted(code) == (0, "interrupted\n", "")


def test_a_program_is_left_by_ctrl_c(tmp_path: Path) -> None:
    url = str(tmp_path / "data")
    code = """
with posthouse.sync.open(sys.argv[1]) as broker:
    queue = broker.queue("q")
    queue.put_many([1, 2])
    held = queue.get()
    for message in queue:
        with message:
            never = broker.queue("never")
            tell()
            never.get()
"""
    status, _, errors = interrupted(code, url)
    assert status in (-signal.SIGINT, 130)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert "posthouse-sync" not in errors
    with sync.open(url) as broker:
        messages = broker.queue("q").get_many()
        assert [(message.body, message.attempts) for message in messages] == [(1, 1), (2, 1)]


_STRESS = """
import random, signal, sys, threading
import posthouse, posthouse.sync

seed = int(sys.argv[2])
chance = random.Random(seed)
armed = False

def on_alarm(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, on_alarm)
interruptions = 0
with posthouse.sync.open(sys.argv[1]) as broker:
    queue = broker.queue("q")
    stop = threading.Event()

    def produce():
        number = 0
        while not stop.is_set():
            queue.put(number)
            number += 1
            stop.wait(chance.random() * 0.001)

    producer = threading.Thread(target=produce)
    producer.start()
    for turn in range(int(sys.argv[3])):
        message = None
        try:
            armed = True
            # Again later: an interruption inside a weakref's callback is ignored by Python.
            signal.setitimer(signal.ITIMER_REAL, 1e-6 + chance.random() * 0.0015, 0.2)
            while True:
                message = None
                message = queue.get_many(3) if turn % 2 else [queue.get()]
                queue.ack_many(message)
        except KeyboardInterrupt:
            armed = False
            interruptions += 1
        in_flight = queue.stats().in_flight
        held = [each for each in message or () if each.settled is None]
        assert in_flight == len(held), (seed, turn, in_flight, message)
        queue.ack_many(held)
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop.set()
    producer.join()
    left = queue.qsize()
    stats = queue.stats()
    assert stats.put == stats.acked + left and stats.in_flight == 0, (seed, stats)
print(interruptions)
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_interruptions_at_any_moment(url: str, seed: int) -> None:
    """What the program was handed is all that is in flight, whenever the signal came."""
    turns = 200
    done = python(_STRESS, url, str(seed), str(turns))
    assert done.stdout == f"{turns}\n"


class NeverOpens:
    """An asyncio broker whose opening waits for ever."""

    url = "never:"

    def __init__(self) -> None:
        self.cancelled = False

    def __await__(self) -> Generator[Any, None, NeverOpens]:
        return self._open().__await__()

    async def _open(self) -> NeverOpens:
        os.kill(os.getpid(), signal.SIGALRM)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self


def test_an_opening_is_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "OPENING_WAIT_S", 0.01)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    broker = NeverOpens()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with nothing_left(), pytest.raises(KeyboardInterrupt):
            home.Home(broker).open()  # type: ignore[arg-type]
    finally:
        signal.signal(signal.SIGALRM, before)
    assert broker.cancelled


def test_an_interrupted_opening_lets_go_of_its_directory(tmp_path: Path) -> None:
    code = """
import random, signal, sys
import posthouse.sync

chance = random.Random(1)
armed = False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
for turn in range(60):
    broker = None
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, 1e-6 + chance.random() * 0.01)
        broker = posthouse.sync.open(sys.argv[1])
    except KeyboardInterrupt:
        pass
    armed = False
    if broker is not None:
        broker.close()
    with posthouse.sync.open(sys.argv[1]) as broker:
        broker.queue("q").put(turn)
"""
    python(code, str(tmp_path / "data"))


def test_a_second_interruption_leaves_at_once_and_the_loop_does_the_rest() -> None:
    # A loop that is held cannot cancel anything; Ctrl-C twice must not wait for it.
    code = """
import asyncio, signal, threading
import posthouse, posthouse.sync

held, leave, ready = threading.Event(), threading.Event(), threading.Event()
opened = []

async def main():
    async with posthouse.open("memory:") as broker:
        queue = posthouse.sync.wrap(broker).queue("q")
        calls = vars(queue)["_portal"].calls
        opened.append(queue)
        ready.set()
        while not calls.active:
            await asyncio.sleep(0.001)
        held.set()
        leave.wait()
        await queue.aio.put("a")
        assert (await queue.aio.get()).body == "a"
        print("nothing taken")

count = 0

def interrupt(*_):
    global count
    if held.is_set() and not leave.is_set():
        count += 1
        raise KeyboardInterrupt

running = threading.Thread(target=lambda: asyncio.run(main()))
running.start()
ready.wait()
signal.signal(signal.SIGALRM, interrupt)
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
try:
    opened[0].get()
except KeyboardInterrupt:
    leave.set()
    signal.setitimer(signal.ITIMER_REAL, 0)
assert count == 2, count
running.join()
"""
    assert python(code).stdout == "nothing taken\n"
