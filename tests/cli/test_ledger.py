"""The demo's ledger: that each kind of wrong is found, and that what a kill leaves open is not."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.cli.demo.analysis import Counts, digest
from posthouse.cli.demo.events import (
    Added,
    Adding,
    AnyEvent,
    Done,
    Put,
    Started,
    Taken,
    Totals,
    decode_line,
    encode_line,
)
from posthouse.cli.demo.ledger import Judgement, Ledger
from posthouse.cli.demo.report import verdict

FILES = ["a.py", "b.py", "c.py", "d.py"]
GOOD: list[AnyEvent] = [
    Started(0, 0),
    Put(0, 3),
    Taken("a", 0, 1),
    Taken("b", 1, 1),
    Done("a"),
    Adding(1, ["a"]),
    Added(1),
    # Here it was killed: d is put and b is done, unreported; the batch with b did not commit.
    Adding(2, ["b"]),
    Started(4, 1),
    Taken("c", 2, 1),
    Taken("d", 3, 1),
    Taken("b", 1, 2),
    Done("c"),
    Done("d"),
    Adding(2, ["b", "c"]),
    Added(2),
    Adding(3, ["d"]),
    Added(3),
]


def totals(ids: list[str], version: int = 3) -> Totals:
    return Totals(version, Counts(files=len(ids)), f"{digest(ids):x}")


def judge(told: list[AnyEvent], found: Totals) -> Judgement:
    ledger = Ledger(len(FILES))
    for event in told:
        ledger.record(event)
    return ledger.judge(found)


def test_a_run_with_a_kill_in_the_middle_is_good() -> None:
    judgement = judge(GOOD, totals(["a", "b", "c", "d"]))
    assert judgement.good
    assert (judgement.put, judgement.redelivered) == (4, 1)
    assert (judgement.lost, judgement.twice) == ([], [])


def test_a_batch_that_committed_unreported_counts() -> None:
    told = [event for event in GOOD if event != Adding(2, ["b", "c"])]
    told[told.index(Adding(2, ["b"]))] = Adding(2, ["b", "c"])
    told[told.index(Started(4, 1))] = Started(4, 2)
    assert judge(told, totals(["a", "b", "c", "d"])).good


def changed(old: AnyEvent, *new: AnyEvent) -> list[AnyEvent]:
    position = GOOD.index(old)
    return [*GOOD[:position], *new, *GOOD[position + 1 :]]


@pytest.mark.parametrize(
    ("told", "found", "fault"),
    [
        (changed(Adding(3, ["d"]), Adding(3, [])), totals(["a", "b", "c"]), "lost"),
        (changed(Adding(3, ["d"]), Adding(3, ["d", "a"])), totals([*"abcda"]), "twice"),
        (
            [*changed(Adding(3, ["d"]), Taken("x", 0, 1), Adding(3, ["d", "x"]))],
            totals([*"abcdx"]),
            "twice",
        ),
        (changed(Adding(3, ["d"]), Adding(3, [])), totals(["a", "b", "c"]), "undone"),
        (changed(Started(4, 1), Started(2, 1)), totals([*"abcd"]), "rolled_back"),
        (changed(Started(4, 1), Started(4, 0)), totals([*"abcd"]), "rolled_back"),
        (GOOD, totals([*"abc"], version=2), "rolled_back"),
        (changed(Started(4, 1), Started(3, 1)), totals([*"abcd"]), "unput"),
    ],
)
def test_each_fault_is_found(told: list[AnyEvent], found: Totals, fault: str) -> None:
    judgement = judge(told, found)
    assert not judgement.good
    assert getattr(judgement, fault), judgement


def test_one_who_looks_sees_what_was_acknowledged() -> None:
    ledger = Ledger(len(FILES))
    for event in GOOD:
        ledger.record(event)
    said = ledger.acknowledged()
    assert said == (4, 3)
    ledger.looked(said, 4, 3)
    assert not ledger.rolled_back
    ledger.looked(said, 3, 3)
    assert ledger.rolled_back
    ledger.rolled_back = False
    ledger.looked(said, 4, 2)
    assert ledger.rolled_back


def test_a_consumer_has_no_place_to_go_on_from() -> None:
    ledger = Ledger(len(FILES))
    for event in [*GOOD[:8], Started(), *GOOD[8:]]:
        ledger.record(event)
    assert not ledger.rolled_back
    assert ledger.batches[2] == ["b", "c"]


@pytest.mark.parametrize("ids", ["abc", "abcdd", "abcx"])
def test_totals_that_are_not_the_ledgers_are_found(ids: str) -> None:
    judgement = judge(GOOD, totals([*ids]))
    assert not judgement.good
    assert not judgement.totals_agree


def test_the_verdict_names_what_is_wrong() -> None:
    good = judge(GOOD, totals([*"abcd"]))
    lines, fine = verdict(good, Counts(4), Counts(4), FILES, [])
    assert fine
    assert lines[-1] == "All as it must be."
    lost = judge(changed(Adding(3, ["d"]), Adding(3, [])), totals([*"abc"]))
    cases: list[tuple[Any, Counts, list[str], str]] = [
        (lost, Counts(4), [], "d.py"),
        (good, Counts(4, functions=1), [], "the totals differ"),
        (good, Counts(4), ["1 on demo.sources"], "1 on demo.sources"),
    ]
    for judgement, found, left, text in cases:
        lines, fine = verdict(judgement, found, Counts(4), FILES, left)
        assert not fine
        assert text in "\n".join(lines)
        assert lines[-1].startswith("WRONG: ")


def test_events_survive_the_pipe() -> None:
    for event in GOOD:
        line = encode_line(event)
        assert line.count(b"\n") == 1
        assert decode_line(line) == event
