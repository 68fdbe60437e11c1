"""A log that many tests damage copies of."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journal.tools.made import Group, Harm, groups_of, make_log


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[Group]]:
    """A sound log, its living messages, and what each of its frames holds."""
    directory = tmp_path_factory.mktemp("made") / "log"
    ids = asyncio.run(make_log(directory))
    return directory, ids, groups_of(directory)


@pytest.fixture
def harm(made: tuple[Path, list[str], list[Group]], tmp_path: Path) -> Callable[[], Harm]:
    """Copies of that log, to be damaged."""
    count = 0

    def copy() -> Harm:
        nonlocal count
        count += 1
        target = tmp_path / f"copy-{count}"
        # Without checkpoints, which let an opening go past a segment without reading it.
        shutil.copytree(made[0], target, ignore=shutil.ignore_patterns("*.ckp"))
        return Harm(target)

    return copy
