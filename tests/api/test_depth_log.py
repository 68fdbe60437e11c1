"""The contract on a log that keeps nothing in memory that it can read back."""

from __future__ import annotations

from typing import Any

import posthouse
from tests.api.test_log import TestLog as _OnLog


class TestLogOutOfMemory(_OnLog):
    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(str(self.directory), cache_bytes=0, **options)
