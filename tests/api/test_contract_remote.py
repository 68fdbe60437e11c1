"""The contract, through a server: over TCP, over a Unix socket, on a log and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.testing.contract import BackendContract
from posthouse.testing.serving import ServedBroker, serve


class TestTcp(BackendContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> Iterator[None]:
        with serve(tmp_path / "data", listen=self.where(tmp_path)) as served:
            self.served: ServedBroker = served
            yield

    def where(self, tmp_path: Path) -> str:
        return "tcp://127.0.0.1:0"

    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(self.served.url, **options)

    async def reopen(self, broker: posthouse.Broker) -> posthouse.Broker:
        await broker.close()
        self.served.restart()
        return await self.open_broker()


class TestUnix(TestTcp):
    def where(self, tmp_path: Path) -> str:
        return f"unix:{tmp_path}/socket"
