"""Runs a row: every contender in turn, round after round, so that all meet the same machine."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.model import Contender, Job, Outcome, Row

SLOW_SECONDS = 1.0
GIVE_UP_FACTOR = 5.0
GIVE_UP_EXTRA_S = 10.0
"""A run that takes five times its length and 10 s more hangs: it fails with TimeoutError."""
LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def loop_factory(name: str) -> LoopFactory:
    """``uvloop`` or ``asyncio``."""
    if name == "uvloop":
        import uvloop

        factory: LoopFactory = uvloop.new_event_loop
        return factory
    return asyncio.new_event_loop


@contextmanager
def fresh_directory(base: Path) -> Iterator[Path]:
    """An empty directory under ``base``, removed afterwards."""
    base.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run_once(
    contender: Contender, size_bytes: int, seconds: float, base: Path, factory: LoopFactory
) -> float:
    """One contender, once, on a fresh loop and a fresh directory."""
    if contender.slow:
        seconds = min(seconds, SLOW_SECONDS)
    gc.collect()

    async def work(directory: Path) -> float:
        async with asyncio.timeout(GIVE_UP_FACTOR * seconds + GIVE_UP_EXTRA_S):
            return await contender.work(Job(size_bytes, seconds, directory))

    with fresh_directory(base) as directory, asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work(directory))


def run_row(
    row: Row,
    size_bytes: int,
    seconds: float,
    rounds: int,
    base: Path,
    factory: LoopFactory,
    say: Callable[[str], None],
) -> Outcome:
    """All contenders of a row, ``rounds`` times in turn. A failure is kept, not raised."""
    outcome = Outcome(row, size_bytes)
    for round_number in range(1, rounds + 1):
        for contender in row.contenders():
            if contender.name in outcome.errors:
                continue
            try:
                value = run_once(contender, size_bytes, seconds, base, factory)
            except Exception as exc:
                outcome.errors[contender.name] = f"{type(exc).__name__}: {exc}"
                say(f"  {round_number}. {contender.name}: {outcome.errors[contender.name]}")
                continue
            outcome.values.setdefault(contender.name, []).append(value)
            say(f"  {round_number}. {contender.name}: {value:,.0f} {row.unit}")
    return outcome
