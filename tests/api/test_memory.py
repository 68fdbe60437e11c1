"""The contract, in memory."""

from __future__ import annotations

from typing import Any

import posthouse
from posthouse.testing.contract import BackendContract


class TestMemory(BackendContract):
    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open("memory:", **options)
