"""The contract, on a log directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.testing.contract import BackendContract


class TestLog(BackendContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "data"

    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(str(self.directory), **options)


class TestLogWithSmallSegments(TestLog):
    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(str(self.directory), segment_bytes=65536, **options)
