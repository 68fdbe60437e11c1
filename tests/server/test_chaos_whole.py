"""The whole contract in bad weather: minutes of it, so in the soak (`pytest -m soak`)."""

from __future__ import annotations

import pytest

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
    pass
