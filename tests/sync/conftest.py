"""A broker for threads, in memory and on disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posthouse import sync
from tests.sync.helpers import nothing_left


@pytest.fixture(params=["memory", "log"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL that can be opened."""
    return "memory:" if request.param == "memory" else str(tmp_path / "data")


@pytest.fixture
def broker(url: str) -> Iterator[sync.Broker]:
    """An open broker; when it is closed, no thread is left."""
    with nothing_left(), sync.open(url) as broker:
        yield broker


@pytest.fixture
def queue(broker: sync.Broker) -> sync.Queue[Any]:
    """One of its queues."""
    return broker.queue("q")
