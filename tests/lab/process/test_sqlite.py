"""Processes on an SQLite database that are killed while they work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.lab.process.budget import LabLike, run_seeds
from tests.lab.process.sqlite_kills import Sharing, run_lives, run_sharers

Run = Callable[[int, Path], Coroutine[Any, Any, int]]


@pytest.mark.parametrize("run", [run_lives, run_sharers])
def test_killed_on_sqlite(lab: LabLike, tmp_path: Path, run: Run) -> None:
    def step(seed: int) -> int:
        directory = tmp_path / str(seed)
        directory.mkdir()
        return asyncio.run(run(seed, directory))

    run_seeds(lab, f"sqlite {run.__name__}", "kills", step)


def _told() -> Sharing:
    sharing = Sharing()
    sharing.take("put", ["k", "l"])
    sharing.take("stored", ["k", "l"])
    sharing.take("got", "k", 1, 1)
    sharing.take("acking", "k")
    sharing.take("acked", "k", 1)
    return sharing


def test_the_witness_believes_what_is_well() -> None:
    sharing = _told()
    sharing.take("left", "a", ["l"])
    assert sharing.verdict() == []


def test_the_witness_notices_what_is_lost_and_what_comes_back() -> None:
    sharing = _told()
    sharing.take("left", "a", [])
    assert sharing.verdict() == ["'l' was stored and is lost"]
    sharing.take("left", "a", ["l", "k", "x"])
    assert sharing.verdict() == ["'k' was acked and came back", "'x' came from nowhere"]


def test_the_witness_notices_a_delivery_after_an_ack() -> None:
    sharing = _told()
    sharing.take("got", "k", 2, 2)
    sharing.take("left", "a", ["l"])
    assert sharing.verdict() == ["'k' was delivered again after its ack"]
    sharing.take("acked", "k", 2)
    assert "'k' was acked twice" in sharing.verdict()
