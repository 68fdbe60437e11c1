"""What the journal's tests share as fixtures."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write is quick, so that what is committed on the loop is the same in every run."""
    monkeypatch.setattr("posthouse.journal.pipeline.monotonic_ns", lambda: 0)
