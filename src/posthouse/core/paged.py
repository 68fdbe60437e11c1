"""Settling what waits on disk only, without reading it."""

from __future__ import annotations

from typing import Final

from posthouse.core.pages import Pages, Range, joined
from posthouse.core.queue import QueueState
from posthouse.records import Record, Settled

SETTLE_STEP: Final = 2_000
SETTLE_RUN: Final = 10_000
"""Ids in one record: a run takes as much room whatever its length, but is counted by id."""


def settling_runs(pages: Pages) -> list[Range]:
    """The ids of all that waits there, in ranges of a record each."""
    runs: list[Range] = []
    for first, last in joined([each for page in pages for each in page.ranges()]):
        starts = range(first, last + 1, SETTLE_RUN)
        runs += [(start, min(start + SETTLE_RUN - 1, last)) for start in starts]
    return runs


def purge_pages(queue: QueueState) -> tuple[int, list[Record]]:
    """Settle all that waits on disk only: (how many, records)."""
    ids = queue.clear_cold()
    steps = range(0, len(ids), SETTLE_STEP)
    records: list[Record] = [Settled(queue.number, ids[at : at + SETTLE_STEP]) for at in steps]
    pages = queue.clear_pages()
    if pages is None:
        return len(ids), records
    for rank in pages.ranks_of(queue.attempts):
        del queue.attempts[rank]
    count = pages.count + len(ids)
    runs = settling_runs(pages)
    pages.void()
    records += [Settled(queue.number, range(first, last + 1)) for first, last in runs]
    return count, records
