"""Opening that is cut off, and errors that travel."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path

import pytest

import posthouse
from posthouse import errors


def test_a_loop_that_ends_in_the_midst_of_an_opening_leaves_no_lock(tmp_path: Path) -> None:
    url = str(tmp_path / "data")

    async def begin() -> None:
        opening = asyncio.ensure_future(posthouse.open(url).__aenter__())
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    async def again() -> None:
        async with asyncio.timeout(20):
            while True:
                try:
                    async with posthouse.open(url):
                        return
                except posthouse.AlreadyOpen:
                    await asyncio.sleep(0.01)

    asyncio.run(begin())  # which ends while the writer still opens the log
    asyncio.run(again())


@pytest.mark.parametrize(
    "error",
    [
        errors.MessageTooLarge("the body", 5, 3),
        errors.LeaseExpired("gone", [1, 2]),
        errors.FilterError("a fault", "abc", 1),
        errors.QueueFull("full"),
        errors.StorageFull("full"),
        errors.AlreadyOpen("./data", 123),
        errors.LogDamaged("./data/1.seg", 4096, "bad checksum"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_pickling(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), copy.args, vars(copy)) == (str(error), error.args, vars(error))
