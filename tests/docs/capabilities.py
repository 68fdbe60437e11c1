"""A pytest plugin that notes, for each test of the contract, how it ended and what it was about.

``-p tests.docs.capabilities``; the notes go, as JSON, into the file that ``CAPABILITY_NOTES``
names: a list of (test, outcome, capabilities asked for).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.testing.cases.base import ASKED

_NOTES = pytest.StashKey[dict[str, tuple[str, list[str]]]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin with an empty page."""
    config.stash[_NOTES] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Nothing was asked for yet."""
    ASKED.clear()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Note the worst of a test's phases."""
    report = yield
    notes = item.config.stash[_NOTES]
    before = notes.get(item.name, ("passed", []))[0]
    ranks = ["passed", "skipped", "failed"]
    outcome = max(before, report.outcome, key=ranks.index)  # type: ignore[attr-defined]
    notes[item.name] = (outcome, sorted(ASKED))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the notes down."""
    notes = session.config.stash[_NOTES]
    rows = [(name, outcome, asked) for name, (outcome, asked) in notes.items()]
    Path(os.environ["CAPABILITY_NOTES"]).write_text(json.dumps(rows))
