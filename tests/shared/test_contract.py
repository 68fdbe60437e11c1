"""The contract, over a shared directory: each test's with a broker process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.testing.contract import BackendContract


class TestShared(BackendContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.url = f"shared:{tmp_path}/data"

    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(self.url, linger_s=0.5, **options)
