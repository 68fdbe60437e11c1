"""The contract on a log that keeps nothing in memory that it can read back."""

from __future__ import annotations

from typing import Any

import posthouse
from tests.api.test_log import TestLog as _OnLog


class TestLogOutOfMemory(_OnLog):
    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(str(self.directory), cache_bytes=0, **options)

    async def test_what_is_there_is_taken_without_waiting_after_a_reopen(self) -> None:
        broker = await self.open_broker()
        await broker.queue("q").put_many([b"1", b"2"])
        broker = await self.reopen(broker)
        queue = broker.queue("q")
        assert [m.body for m in await queue.get_many(2, timeout=0)] == [b"1", b"2"]
        await broker.close()
