"""No descriptors left, around the opening of a log and the beginning of a segment."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

import posthouse
from posthouse import StorageFailed, StorageFull, UnknownOutcome
from tests.lab.process.ledger import Ledger

SMALL: Final[dict[str, Any]] = {"segment_bytes": 64 * 1024, "ring_slots": 64}


def open_descriptors() -> int:
    """How many this process has."""
    return len(os.listdir("/dev/fd"))


@contextmanager
def only(more: int) -> Iterator[None]:
    """At most so many more descriptors than now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    # Numbers below the limit that are free would still be given: take them.
    limit = max(map(int, os.listdir("/dev/fd"))) + 1
    try:
        while True:
            fd = os.open(os.devnull, os.O_RDONLY)
            if fd >= limit:
                os.close(fd)
                break
            taken.append(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit + more, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)


@pytest.mark.parametrize("more", range(8))
async def test_too_few_to_open(tmp_path: Path, more: int) -> None:
    directory = str(tmp_path / "log")
    async with posthouse.open(directory, **SMALL) as broker:
        await broker.queue("a", str).put("kept")
    before = open_descriptors()
    why = ""
    with only(more):
        try:
            broker = await posthouse.open(directory, **SMALL)
        except StorageFailed as error:
            why = str(error)
        else:
            await broker.close()
    assert "Too many open files" in why or (more >= 3 and not why)
    assert open_descriptors() == before
    async with posthouse.open(directory, **SMALL) as broker:
        assert (await broker.queue("a", str).get()).body == "kept"


@pytest.mark.parametrize("more", range(3))
async def test_too_few_for_the_next_segment(tmp_path: Path, more: int) -> None:
    directory = str(tmp_path / "log")
    ledger = Ledger()
    before = open_descriptors()
    broker = await posthouse.open(directory, **SMALL)
    queue = broker.queue("a", str)
    clean = True
    with only(more):
        for number in range(1, 300):
            ledger.take("put", number, "a", [str(number)])
            try:
                put_id = await queue.put(str(number).ljust(900, "."))
            except UnknownOutcome as error:
                ledger.take("unknown", number, str(error))
                clean = False
                break
            except (StorageFailed, StorageFull) as error:
                ledger.take("failed", number, str(error))
                clean = isinstance(error, StorageFull)
                break
            ledger.take("done", number, [put_id])
    # With none left the log cannot have gone on for 300 KiB in segments of 64.
    assert more > 0 or number < 299
    if clean:
        await broker.close()
    else:
        with pytest.raises(StorageFailed):
            await broker.close()
    assert open_descriptors() == before
    ledger.life_over(killed=not clean)
    async with posthouse.open(directory, **SMALL) as broker:
        messages = await broker.queue("a", str).get_many(1000)
        for name in ("a.dead", "b", "c"):
            ledger.take("left", name, [])
        found = [[m.id, m.body.rstrip("."), m.attempts - 1] for m in messages]
        ledger.take("left", "a", found)
        assert ledger.problems() == []
