"""What the tests of the face for threads share."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from posthouse import sync

R = TypeVar("R")
PATIENCE_S = 20.0
PORTAL_THREAD = "posthouse-sync"


class Running(Generic[R]):
    """A function in a thread of its own, and how it ended."""

    def __init__(self, function: Callable[[], R]) -> None:
        self._function = function
        self._result: R | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self.error = error

    def result(self) -> R:
        """What it returned, or raise what it raised."""
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive(), "the thread hangs"
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]


def under_way(handle: Any, count: int) -> None:
    """Return when so many calls of the handle's face are under way on the loop.

    Nothing tells a test that another thread has begun to wait, so this looks again and again.
    """
    calls = vars(handle)["_portal"].calls
    deadline = time.monotonic() + PATIENCE_S
    while len(calls.active) != count:
        assert time.monotonic() < deadline, f"{len(calls.active)} calls are under way, not {count}"
        time.sleep(0.0005)


@contextmanager
def nothing_left() -> Iterator[None]:
    """The block leaves no thread behind."""
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    # The log's writer is told to end and ends by itself.
    for thread in left:
        thread.join(PATIENCE_S)
    assert not [thread for thread in left if thread.is_alive()]


def python(code: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter; it has to end by itself."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def bodies(messages: list[sync.Message[Any]]) -> list[Any]:
    """What they say."""
    return [message.body for message in messages]
