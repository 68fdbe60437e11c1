"""The contract, on an SQLite database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.testing.contract import BackendContract


class TestSqlite(BackendContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "queue.db"

    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(f"sqlite:///{self.path}", **options)
