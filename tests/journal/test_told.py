"""Who is told in the very step in which a group is on disk."""

from __future__ import annotations

import asyncio
import errno

from posthouse.errors import UnknownOutcome
from posthouse.journal.group import Told
from posthouse.testing.files import FaultyFiles
from tests.journal.logs import Bench, entry
from tests.journal.memory import MemoryFiles


async def test_told_in_the_step_of_the_commit_after_the_effects() -> None:
    seen: list[object] = []
    bench = Bench(MemoryFiles(), on_commit=lambda _: seen.append("committed"))
    group = bench.journal.put(1, 7, 0, entry(1))
    assert group is not None
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: seen.append("a turn later"))
    group.waiters.append(future)
    group.waiters.append(Told(seen.append))
    bench.writer.hold()
    await bench.turn(3)
    assert seen == []
    bench.writer.release()
    await future
    await bench.turn(2)
    assert seen == ["committed", None, "a turn later"]


async def test_told_what_failed() -> None:
    seen: list[BaseException | None] = []
    names = frozenset({"pwritev_sync"})
    bench = Bench(FaultyFiles(1, errno.EIO, inner=MemoryFiles(), names=names))
    group = bench.journal.put(1, 7, 0, entry(1))
    assert group is not None
    group.waiters.append(Told(seen.append))
    await bench.turn(5)
    assert [type(error) for error in seen] == [UnknownOutcome]
