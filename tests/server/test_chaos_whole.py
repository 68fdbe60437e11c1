"""The whole contract in bad weather: minutes of it, so in the soak (`pytest -m soak`)."""

from __future__ import annotations

import pytest

from posthouse.broker import Broker
from posthouse.testing.contract import BackendContract
from tests.server import test_chaos as weather


@pytest.mark.soak
class TestAllOfItInDribble(weather.TestDribble, BackendContract):
    async def test_bodies(self, broker: Broker) -> None:
        self.proxy.weather(dribble=4999)  # 16 MiB in sevens would take minutes
        await super().test_bodies(broker)


@pytest.mark.soak
class TestAllOfItInDelay(weather.TestDelay, BackendContract):
    pass


@pytest.mark.soak
class TestAllOfItInResets(weather.TestResets, BackendContract):
    pass
