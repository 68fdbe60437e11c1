"""The decision table, every combination of findings, against the rules said in other words."""

from __future__ import annotations

import itertools

import pytest

from posthouse.journal.verdicts import Findings, Verdict, judge

NAMES = ("sealed", "whole", "catalog", "gap", "proven", "followed", "closed", "torn")
COMBINATIONS = [
    Findings(**dict(zip(NAMES, values, strict=True)))
    for values in itertools.product((False, True), repeat=len(NAMES))
]


@pytest.mark.parametrize("found", COMBINATIONS)
def test_every_combination(found: Findings) -> None:
    verdict, why = judge(found)
    assert why
    impossible_by_crash = not found.catalog or found.gap
    if found.sealed:
        expected = Verdict.SOUND if found.whole and not impossible_by_crash else Verdict.REFUSE
    elif impossible_by_crash or found.proven:
        expected = Verdict.REFUSE
    elif found.closed and not (found.torn or found.followed):
        expected = Verdict.APPEND
    else:
        expected = Verdict.CUT
    assert verdict is expected


def test_nothing_is_cut_that_is_known_to_have_been_on_disk() -> None:
    cut = [found for found in COMBINATIONS if judge(found)[0] is Verdict.CUT]
    assert cut
    assert not any(found.proven or found.sealed or found.gap for found in cut)
