"""The whole contract in bad weather: minutes of it, so in the soak (`pytest -m soak`)."""

from __future__ import annotations

import pytest

from posthouse.broker import Broker
from posthouse.testing.contract import BackendContract
from tests.server import test_chaos as weather


@pytest.mark.soak
class TestAllOfItInDribble(weather.TestDribble, BackendContract):
    pass


@pytest.mark.soak
class TestAllOfItInDelay(weather.TestDelay, BackendContract):
    pass


@pytest.mark.soak
class TestAllOfItInResets(weather.TestResets, BackendContract):
    async def test_bodies(self, broker: Broker) -> None:
        # 16 MiB have to come through between two resets.
        self.proxy.weather(break_after_s=5.0)
        await super().test_bodies(broker)

    async def test_a_lease_starts_when_its_message_is_yielded(self, broker: Broker) -> None:
        # A reset puts back what was set aside, and what ran out meanwhile comes before it.
        self.calm()
        await super().test_a_lease_starts_when_its_message_is_yielded(broker)

    async def test_index_finds_the_same(self, broker: Broker) -> None:
        # A find that is said again may be done before what was set aside is back: docs/server.md.
        self.calm()
        await super().test_index_finds_the_same(broker)

    def calm(self) -> None:
        """After one more reset."""
        self.proxy.weather()
        self.proxy.reset()
