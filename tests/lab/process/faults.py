"""A disk that fails at every call in turn, under a whole broker.

First a life that counts the calls, then for each call and each way to fail: a life that meets
it, and a last one on a sound disk that finds what was kept.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import posthouse
from posthouse.clock import SystemClock
from posthouse.errors import DiskError, LogDamaged
from posthouse.journal.files import Files, RealFiles
from posthouse.testing.files import FaultyFiles
from tests.lab.process.child import log_options, shifted_wall
from tests.lab.process.drain import drain
from tests.lab.process.kills import DRAIN_SHIFT_S
from tests.lab.process.ledger import Ledger
from tests.lab.process.life import LONGEST_S, Life, Stopped
from tests.lab.process.queues import draw_rich
from tests.lab.process.scratch import scratch

T = TypeVar("T")
HANG_S: Final = 30.0
NEVER: Final = 1 << 62
OPERATIONS: Final = 30


class InlineWriter:
    """A writer that does each job at once, so that the same calls come in the same order."""

    idle = False  # every job takes the writer's way

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def submit(
        self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Run ``job`` now, then ``done(result, error)`` in a later turn of the loop."""
        result: T | None = None
        error: BaseException | None = None
        try:
            result = job()
        except Exception as caught:
            error = caught
        self._loop.call_soon(done, result, error)

    def close(self, deadline_s: float) -> None:
        """Nothing is left to finish."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to fail at one call; see `FaultyFiles`."""

    call: int
    error: int = errno.EIO
    sticky: bool = False
    short: bool = False
    late: bool = False

    def files(self) -> FaultyFiles:
        """The real disk with this fault."""
        return FaultyFiles(
            self.call, self.error, sticky=self.sticky, short=self.short, late=self.late
        )


def ways(call: int) -> Iterator[Fault]:
    """Every way in which this call may fail."""
    for error in (errno.EIO, errno.ENOSPC):
        for sticky in (False, True):
            yield Fault(call, error, sticky)
            yield Fault(call, error, sticky, short=True)
    yield Fault(call, late=True)
    yield Fault(call, late=True, sticky=True)
    yield Fault(call, errno.EINTR)
    yield Fault(call, errno.EMFILE)


class Complaints:
    """What an event loop was told of and nobody handled."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def take(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler."""
        self.texts.append(f"{context.get('message')}: {context.get('exception')!r}")


def one_life(
    directory: Path,
    seed: int,
    name: str,
    ledger: Ledger,
    files: Files,
    *,
    last: bool = False,
    wall_ns: Callable[[], int] = time.time_ns,
    longest_s: float = LONGEST_S,
    scope: str = "",
) -> list[str]:
    """Open, work (or drain, the ``last``) and close on this disk; what should not have happened.

    Raises:
        Exception: something else than the disk's failure ended it.
    """
    complaints = Complaints()

    async def main() -> list[int]:
        leaving: list[int] = []
        asyncio.get_running_loop().set_exception_handler(complaints.take)
        random = Random(seed)
        options = log_options(random)
        options["clock"] = SystemClock(wall_ns=wall_ns)
        async with (
            asyncio.timeout(HANG_S),
            posthouse.open(
                str(directory), files=files, make_writer=InlineWriter, **options
            ) as broker,
        ):
            if last:
                await drain(broker, ledger.take, ledger.rich)
            else:
                more: dict[str, Any] = {"longest_s": longest_s, "scope": scope}
                life = Life(broker, ledger.take, random, name, rich=ledger.rich, **more)
                await life.run(OPERATIONS)
                leaving = life.leave()
        return leaving

    try:
        for number in asyncio.run(main()):
            ledger.take("done", number, None)
    except (DiskError, Stopped) as error:
        ledger.life_over(killed=True)
        if last or isinstance(error, LogDamaged):
            raise
        if not isinstance(files, FaultyFiles) or files.failed is None:
            raise
    else:
        ledger.life_over(killed=False)
    return complaints.texts


def count_calls(seed: int) -> int:
    """How many calls a life of this seed makes when nothing fails."""
    rich = rich_of(seed)
    with scratch() as directory:
        files = FaultyFiles(NEVER, errno.EIO)
        run_before(Path(directory), seed, Ledger(rich))
        one_life(Path(directory), seed, "1", Ledger(rich), files)
        return files.calls


def rich_of(seed: int) -> tuple[str, ...]:
    """Which queues of `queues.RICH` the lives of this seed have."""
    return draw_rich(Random(f"rich {seed}"))


def run_before(directory: Path, seed: int, ledger: Ledger) -> list[str]:
    """The life before the fault: none, one that ended well, or one that did not."""
    how = seed % 3
    if how == 0:
        return []
    files: Files = RealFiles()
    if how == 2:
        files = Fault(40 + seed % 100, sticky=True).files()
    return one_life(directory, seed + 1, "0", ledger, files)


def run_fault(seed: int, fault: Fault) -> None:
    """One case.

    Raises:
        AssertionError: a promise was broken; the text has the case and the trace.
    """
    ledger = Ledger(rich_of(seed))
    with scratch() as directory:
        path = Path(directory) / "log"
        files = fault.files()
        try:
            problems = run_before(path, seed, ledger)
            problems += one_life(path, seed, "1", ledger, files)
            problems += one_life(
                path, seed, "2", ledger, RealFiles(), last=True, wall_ns=shifted_wall(DRAIN_SHIFT_S)
            )
            problems += ledger.problems()
        except Exception as error:
            raise failure(seed, fault, [f"{type(error).__name__}: {error}"], ledger) from error
        if problems:
            raise failure(seed, fault, problems, ledger)


def failure(seed: int, fault: Fault, problems: list[str], ledger: Ledger) -> AssertionError:
    """All that is needed to look into it."""
    command = f"python -m tests.lab.process --part faults --seed {seed} --call {fault.call}"
    lines = [f"seed {seed}, {fault}: to replay: {command}", *problems[:20]]
    return AssertionError("\n".join([*lines, "trace:", ledger.history.to_text()]))


def cases(seed: int, call: int | None = None) -> list[Fault]:
    """Every call of this seed's life (or this one) in every way to fail, in a random order."""
    calls = range(1, count_calls(seed) + 1) if call is None else [call]
    found = [fault for each in calls for fault in ways(each)]
    Random(seed).shuffle(found)
    return found
