"""A target from a seed, for a time; a failure says how to see it again."""

from __future__ import annotations

import time
from random import Random
from typing import Final

from tests.lab.fuzz.targets import TARGETS, cheap_limits

STEP: Final = 200
"""Inputs between two looks at the clock."""


def run_target(name: str, seed: int, seconds: float, most: int = 1 << 62) -> int:
    """Try inputs for so long, or so many; how many there were.

    Raises:
        AssertionError: an invariant does not hold, or something was raised that should not be.
    """
    inputs = TARGETS[name](Random(seed))
    end = time.monotonic() + seconds
    count = 0
    with cheap_limits():
        while count < most:
            try:
                for _ in range(min(STEP, most - count)):
                    count += 1
                    next(inputs)
            except Exception as error:
                command = f"python -m tests.lab.fuzz --target {name} --seed {seed} --count {count}"
                raise AssertionError(
                    f"{name}, input {count}: {type(error).__name__}: {error}\nto replay: {command}"
                ) from error
            if time.monotonic() >= end:
                break
    return count
