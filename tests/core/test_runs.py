"""Runs as recovery has them: their pages against pages that grew, and the room that they take."""

from __future__ import annotations

import random
import sys
from array import array

import pytest

from posthouse.core.pages import Page, Pages, Run
from posthouse.core.shelves import Runs

START = 1_800_000_000_000_000_000
KINDS = ("alone", "batches", "together", "slow", "mixed")


def _rows(rng: random.Random, kind: str, rows: int) -> list[tuple[Run, int]]:
    found: list[tuple[Run, int]] = []
    at, frame = START + rng.randrange(1 << 33), 256
    for row in range(rows):
        count = 1 if kind in ("alone", "slow", "together") else rng.randrange(1, 400)
        record = 100 * (row % 50) if kind in ("together", "mixed") else 0
        if not record:
            frame += 8 * rng.randrange(10, 40)
        size_bytes = 0 if rng.random() < 0.1 else rng.randrange(2_000) * count
        found.append(((at, count, frame, record), size_bytes))
        at += count + rng.randrange(1 << (30 if kind in ("slow", "mixed") else 16))
    return found


def _sparse(rows: list[tuple[Run, int]]) -> Runs:
    columns = (
        array("Q", [run[0] for run, _ in rows]),
        array("I", [run[1] for run, _ in rows]),
        array("I", [run[2] // 8 for run, _ in rows]),
        array("I", [run[3] for run, _ in rows]),
        array("Q", [size for _, size in rows]),
    )
    return Runs(3, columns, None, carried=False)


def _held_bytes(page: Page) -> int:
    columns = (page.firsts, page.frames, page.counts, page.records)
    return sum(sys.getsizeof(column) for column in columns if isinstance(column, array))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_pages_that_are_cut_from_runs_are_those_that_grew(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    rows = _rows(rng, kind, rng.randrange(1, 3_000))
    grown = Pages(lambda page: [])
    for run, size_bytes in rows:
        grown.add(3, run, size_bytes)
    runs = _sparse(rows)
    built = list(runs.pages())
    assert runs.last == rows[-1][0][0] + rows[-1][0][1] - 1
    assert [run for page in built for run in page.runs()] == [run for run, _ in rows]
    assert list(runs.pieces([])) == [(3, run, size_bytes) for run, size_bytes in rows]
    for page, other in zip(built, grown, strict=True):
        assert list(page.runs()) == list(other.runs())
        assert (page.first, page.last) == (other.first, other.last)
        assert (page.count, page.size_bytes) == (other.count, other.size_bytes)
        gone = [(page.first, page.first + 1), (page.last, page.last)]
        if page.last > page.first + 1:
            assert page.cut(gone, 0) == other.cut(gone, 0)
            assert list(page.runs()) == list(other.runs())


@pytest.mark.parametrize(("kind", "most"), [("alone", 9), ("together", 13), ("slow", 13)])
def test_a_message_that_has_a_record_of_its_own_takes_few_bytes(kind: str, most: int) -> None:
    rows = _rows(random.Random(1), kind, 20_000)
    grown = Pages(lambda page: [])
    for run, _ in rows:
        grown.add(3, run, 100)
    for pages in (list(grown)[:-1], list(_sparse(rows).pages())[:-1]):
        assert sum(map(_held_bytes, pages)) <= most * sum(page.count for page in pages)


def test_a_page_takes_ids_in_any_order_and_far_apart() -> None:
    runs = [(START, 1, 8, 0), (START - 5, 2, 8, 40), (START + (1 << 40), 1, 16, 40), (3, 1, 24, 0)]
    page = Page(1)
    for run in runs:
        page.add(run, 0)
    assert list(page.runs()) == runs
    assert page.count == 5
