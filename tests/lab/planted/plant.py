"""Planting a bug: a copy of the package with one thing wrong, and the test that must notice."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ROOT / "src" / "posthouse"
PATIENCE_S = 240.0

Command = tuple[str, ...]


class DoesNotApply(Exception):
    """The text that a bug replaces is not there, or not there once: write the bug anew."""


@dataclass(frozen=True)
class Edit:
    """One replacement. The text must stand exactly once in the whole package."""

    old: str
    new: str


@dataclass(frozen=True)
class Bug:
    """A defect to plant.

    Attributes:
        name: what is wrong, in words.
        edits: how to make it so.
        detector: arguments for python; it must fail on the planted copy. One of the package
            ``tests.lab`` says "replay:" when it found something; pytest ends with 1.
    """

    name: str
    edits: tuple[Edit, ...]
    detector: Command


def copy_sources(into: Path) -> Path:
    """A copy of the package under ``into``: the directory to put on the path."""
    target = into / "src"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(SOURCES, target / "posthouse", ignore=ignore)
    return target


def plant(bug: Bug, sources: Path) -> None:
    """Make the copy wrong.

    Raises:
        DoesNotApply: the code has changed: the bug must be written anew.
    """
    for edit in bug.edits:
        found = [(path, path.read_text(encoding="utf-8")) for path in sorted(sources.rglob("*.py"))]
        places = [(path, text) for path, text in found if edit.old in text]
        count = sum(text.count(edit.old) for _, text in places)
        if count != 1:
            where = ", ".join(str(path.relative_to(sources)) for path, _ in places) or "nowhere"
            raise DoesNotApply(
                f"{bug.name!r}: this text stands {count} times in the package ({where}), "
                f"not once:\n{edit.old}"
            )
        path, text = places[0]
        changed = text.replace(edit.old, edit.new)
        compile(changed, str(path), "exec")
        path.write_text(changed, encoding="utf-8")


@dataclass(frozen=True)
class Outcome:
    """What the detector said.

    Attributes:
        noticed: it failed, as a test does that found something.
        took_s: seconds.
    """

    noticed: bool
    code: int
    output: str
    took_s: float


def run(command: Command, sources: Path) -> Outcome:
    """Run a detector against the package in ``sources``."""
    started = time.monotonic()
    environment = {
        **os.environ,
        "PYTHONPATH": str(sources),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAB_SEED": "1",
        "LAB_SECONDS": "20",
    }
    try:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return Outcome(False, -1, f"no answer: {error}", time.monotonic() - started)
    # A crash of the tool itself, or a collection error, is no finding.
    tests = command[:2] == ("-m", "pytest")
    noticed = done.returncode == 1 and (tests or "replay:" in done.stdout)
    return Outcome(noticed, done.returncode, done.stdout, time.monotonic() - started)


def try_bug(bug: Bug, into: Path) -> Outcome:
    """Plant a bug in a copy under ``into`` and run its detector."""
    sources = copy_sources(into)
    plant(bug, sources)
    return run(bug.detector, sources)
