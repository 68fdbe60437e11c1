"""Plain puts of one turn of the loop: when they are said, and what ends a message of them."""

from __future__ import annotations

import asyncio

from posthouse.link.calls import Calls
from posthouse.link.options import LinkOptions, Place
from posthouse.link.run import MOST_RUN_BYTES, Run


async def test_a_run_is_full_when_much_is_to_be_said() -> None:
    full: list[int] = []
    run = Run("q", 1, asyncio.get_running_loop(), lambda: full.append(len(run.futures)))
    for _ in range(3):
        run.add(2, b"x" * (MOST_RUN_BYTES // 2))
    assert full == [3]
    assert run.message.bodies == [b"x" * (MOST_RUN_BYTES // 2)] * 3


async def test_a_put_is_not_added_to_a_message_of_which_one_was_cancelled() -> None:
    """There is no connection: the message is forgotten, and what was added would be too."""
    calls = Calls(Place("127.0.0.1", 1), LinkOptions())
    first = calls.begin_run("q")
    future = first.add(2, b"a")
    future.cancel()
    calls.abandon(first, first.part_of(future))
    assert calls.open_run("q") is None
    second = calls.begin_run("q")
    second.add(2, b"b")
    assert list(calls.outstanding.values()) == [second]
    assert second.message.sequence == first.message.sequence + 1


async def test_a_run_is_one_queues_and_ends_with_the_turn() -> None:
    calls = Calls(Place("127.0.0.1", 1), LinkOptions())
    run = calls.begin_run("q")
    run.add(2, b"a")
    assert calls.open_run("q") is run
    assert calls.open_run("other") is None
    assert await asyncio.to_thread(calls.open_run, "q") is None
    await asyncio.sleep(0)
    assert calls.open_run("q") is None
    assert run.left == 1
