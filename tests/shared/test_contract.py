"""The contract, over a shared directory: each test's with a broker process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.testing.cases.delivery import DeliveryCases
from posthouse.testing.cases.reopening import ReopeningCases
from posthouse.testing.cases.transactions import TransactionCases
from posthouse.testing.contract import BackendContract
from tests.shared.places import nobody, share, status_of


class Shared:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "data"

    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await share(self.directory, **options)

    async def reopen(self, broker: posthouse.Broker) -> posthouse.Broker:
        pid = status_of(self.directory).pid
        await broker.close()
        # Sooner than by itself: some cases wait for nothing but time.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        await nobody(self.directory)
        return await self.open_broker()


# The server behind it runs the whole contract in tests/api/test_contract_remote.py; here it takes
# minutes, for the processes.
@pytest.mark.soak
class TestShared(Shared, BackendContract):
    pass


class TestSharedInBrief(Shared, DeliveryCases, ReopeningCases, TransactionCases):
    pass
