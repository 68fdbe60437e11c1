"""Processes that race for the ownership of one directory."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.lab.process.rival import LOST, WON

RIVALS: Final = 2
ROUNDS_EACH: Final = 20
"""Nobody reclaims here: a directory is raced for so often, then comes another one."""


class Rival:
    """The other end of a `tests.lab.process.rival`."""

    def __init__(self, stack: ExitStack) -> None:
        paths = [os.getcwd(), *filter(None, sys.path)]
        self._process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "tests.lab.process.rival"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        )
        word, value = self.hear()
        assert word == "ready"
        self.pid = int(value)

    def tell(self, text: str = "") -> None:
        """Say the next thing."""
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def hear(self) -> list[str]:
        """What it says: a word and a value."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline().split()
        assert len(said) == 2, f"a rival ended: {said}"
        return said


def run_race(directory: Path, rounds: int) -> None:
    """Let them all try at once, so often, in directories made under this one.

    Raises:
        AssertionError: not exactly one had it, or an epoch was given twice.
    """
    epoch = 0
    with ExitStack() as stack:
        rivals = [Rival(stack) for _ in range(RIVALS)]
        pids = {str(rival.pid) for rival in rivals} | {"None"}
        for number in range(rounds):
            if number % ROUNDS_EACH == 0:
                epoch = 0
            where = str(directory / str(number // ROUNDS_EACH))
            for rival in rivals:
                rival.tell(where)
            answers = [rival.hear() for rival in rivals]
            winners = [int(value) for word, value in answers if word == WON]
            losers = [value for word, value in answers if word == LOST]
            assert len(winners) == 1, f"round {number}: {answers}"
            assert len(losers) == RIVALS - 1, f"round {number}: {answers}"
            assert set(losers) <= pids, f"round {number}: {answers}, rivals are {pids}"
            assert winners[0] > epoch, f"round {number}: epoch {winners[0]} after {epoch}"
            epoch = winners[0]
            for rival in rivals:
                rival.tell()
            assert all(rival.hear()[0] == "free" for rival in rivals)
