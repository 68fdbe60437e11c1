"""The server killed under load, with the ledger outside of it."""

from __future__ import annotations

import asyncio
import threading

from tests.lab.process.budget import LabLike, run_seeds
from tests.lab.process.server_kills import DONE, Outside, complaints, run_server_kills

KILLS = 10
"""With one load; then another begins on an empty directory."""


def test_server_kills(lab: LabLike) -> None:
    def step(seed: int) -> int:
        ledger = run_server_kills(seed, KILLS)
        assert ledger.answered
        return KILLS

    run_seeds(lab, "server kills", "kills", step)


def test_what_nobody_hears_is_a_problem() -> None:
    async def fails() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with complaints() as problems:
        asyncio.run(fails())
        thread = threading.Thread(target=lambda: {}["nothing"])
        thread.start()
        thread.join()
    assert len(problems) == 2
    assert "ZeroDivisionError" in problems[0]
    assert "KeyError" in problems[1]


def test_the_ledger_finds_what_is_wrong() -> None:
    ledger = Outside(
        answered={"a": "1", "b": "2", "e": "5"},
        tried={"a", "b", "c", "d", "e"},
        batches=[["c", "d"]],
        seen={
            ("q", "a"): {"1", "9"},
            ("q", "c"): {"3"},
            ("q", "e"): {"5"},
            (DONE, "e"): {"6"},
        },
    )
    ledger.moved.update(["a"])
    assert ledger.judge() == [
        "b was answered and is lost",
        "a is 2 messages of q",
        "the batch ['c', 'd'] is there in part",
        "a was moved 1 times, and is lost or doubled",
        f"e is in {DONE}, and nobody moved it there",
    ]


def test_the_ledger_finds_what_comes_back() -> None:
    class Message:
        queue_name, id, body, token, attempts = "q", "1", "a", 7, 1

    ledger = Outside(tried={"a"})
    ledger.delivered(Message())
    assert not ledger.problems
    ledger.settled.add(("q", "1"))
    ledger.delivered(Message())
    Message.body = "never"
    Message.token = 8
    Message.id = "2"
    ledger.delivered(Message())
    assert ledger.problems == [
        "a came back after it was settled durably",
        "a: its token does not grow",
        "never was never put",
    ]
