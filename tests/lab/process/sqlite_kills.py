"""Processes on one SQLite database, killed at random, and an outside ledger of what they said.

``python -m tests.lab.process.sqlite_kills SEED`` replays both kinds of run for a seed.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec

from tests.lab.process.job import decode_report
from tests.lab.process.kills import DRAIN_SHIFT_S
from tests.lab.process.ledger import Ledger
from tests.lab.process.sqlite_child import SqliteJob

PATIENCE_S: Final = 60.0
MOST_LIVES: Final = 4
SHARERS: Final = 3
Take = Callable[..., None]


class ChildFailed(AssertionError):
    """A child ended as no child should."""


async def raise_child(job: SqliteJob, take: Take, kill_after_s: float | None) -> bool:
    """Let a child do its job, or kill it so long after it said that it opened: whether it was."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.lab.process.sqlite_child",
        msgspec.json.encode(job).decode(),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
    assert child.stdout is not None
    killing: asyncio.TimerHandle | None = None
    killed = False

    def kill() -> None:
        nonlocal killed
        if child.returncode is None:
            killed = True
            child.kill()

    try:
        async with asyncio.timeout(PATIENCE_S):
            while (line := await child.stdout.readline()).endswith(b"\n"):
                fields: list[Any] = decode_report(line)
                if fields[0] == "opened" and kill_after_s is not None:
                    killing = asyncio.get_running_loop().call_later(kill_after_s, kill)
                take(*fields)
            code = await child.wait()
    except BaseException:
        if child.returncode is None:
            child.kill()
            await child.wait()
        raise
    finally:
        if killing is not None:
            killing.cancel()
    if code and not killed:
        raise ChildFailed(f"a child ended with code {code}: {job}")
    return killed and code != 0


# one at a time, judged by everything they say


async def run_lives(seed: int, directory: Path) -> int:
    """A few lives on one database, most of them killed, then what is left; how many were.

    Raises:
        AssertionError: a promise was broken; the text has the seed and the trace.
    """
    random = Random(seed)
    ledger = Ledger()
    kills = 0
    path = str(directory / "q.db")
    for life in range(random.randint(1, MOST_LIVES)):
        job = SqliteJob(
            path=path,
            seed=random.getrandbits(32),
            name=str(life),
            operations=random.choice([30, 100, 300]),
        )
        kill_after_s = None if random.random() < 0.1 else random.random() ** 2 * 0.4
        killed = await raise_child(job, ledger.take, kill_after_s)
        ledger.life_over(killed)
        kills += killed
    last = SqliteJob(path=path, seed=seed, work="drain", shift_s=DRAIN_SHIFT_S)
    await raise_child(last, ledger.take, None)
    problems = ledger.problems()
    if problems:
        raise AssertionError(failure(seed, [*problems[:20], "trace:", ledger.history.to_text()]))
    return kills


# many at once


@dataclass
class Sharing:
    """What the processes that share a database said."""

    put: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    acking: set[str] = field(default_factory=set)
    acked: dict[str, int] = field(default_factory=dict)
    deliveries: dict[str, dict[int, int]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def take(self, word: str, *fields: Any) -> None:
        """Write down one report."""
        if word == "put":
            self.put.update(fields[0])
        elif word == "stored":
            self.stored.update(fields[0])
        elif word == "got":
            key, token, attempts = fields
            if token in self.deliveries.setdefault(key, {}):
                self.problems.append(f"{key!r} was delivered twice under one token")
            self.deliveries[key][token] = attempts
        elif word == "acking":
            self.acking.add(fields[0])
        elif word == "acked":
            if fields[0] in self.acked:
                self.problems.append(f"{fields[0]!r} was acked twice")
            self.acked[fields[0]] = fields[1]
        elif word == "left":
            self.left += fields[1]

    def verdict(self) -> list[str]:
        """Every broken promise."""
        found = set(self.left)
        problems = list(self.problems)
        if len(found) < len(self.left):
            problems.append("something was left twice")
        problems += [f"{key!r} was stored and is lost" for key in self.stored - self.acking - found]
        problems += [f"{key!r} was acked and came back" for key in found & self.acked.keys()]
        problems += [f"{key!r} came from nowhere" for key in found - self.put]
        for key, token in self.acked.items():
            # Each delivery that was not given back counts one more: after an ack there is none.
            last = self.deliveries[key][token]
            if any(attempts > last for attempts in self.deliveries[key].values()):
                problems.append(f"{key!r} was delivered again after its ack")
        return problems


async def run_sharers(seed: int, directory: Path) -> int:
    """Processes at once on one database, some killed and born again; how many were killed.

    Raises:
        AssertionError: a promise was broken; the text has the seed.
    """
    random = Random(seed)
    sharing = Sharing()
    path = str(directory / "q.db")
    kills = 0

    async def line(number: int) -> None:
        nonlocal kills
        for life in range(2):
            job = SqliteJob(
                path=path,
                seed=random.getrandbits(32),
                name=f"{number}-{life}",
                work="share",
                operations=random.choice([40, 120, 240]),
            )
            kill_after_s = None if random.random() < 0.2 else random.random() * 0.8
            kills += await raise_child(job, sharing.take, kill_after_s)

    await asyncio.gather(*(line(number) for number in range(SHARERS)))
    await raise_child(SqliteJob(path=path, seed=seed, work="empty"), sharing.take, None)
    problems = sharing.verdict()
    if problems:
        raise AssertionError(failure(seed, problems[:20]))
    return kills


def failure(seed: int, lines: list[str]) -> str:
    """All that is needed to look into it."""
    replay = f"seed {seed}: to replay: python -m tests.lab.process.sqlite_kills {seed}"
    return "\n".join([replay, *lines])


async def replay(seed: int) -> None:
    """Both kinds of run."""
    for run in (run_lives, run_sharers):
        with tempfile.TemporaryDirectory(prefix="posthouse-lab-") as directory:
            print(run.__name__, await run(seed, Path(directory)), "killed")


if __name__ == "__main__":
    asyncio.run(replay(int(sys.argv[1])))
