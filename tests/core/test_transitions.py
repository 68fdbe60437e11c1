"""The table of moves, and the diagram drawn from it."""

from __future__ import annotations

from pathlib import Path

from posthouse.core.transitions import TRANSITIONS, Event, Status, mermaid

QUEUES_PAGE = Path(__file__).resolve().parents[2] / "docs" / "queues.md"


def test_no_row_twice() -> None:
    assert len(set(TRANSITIONS)) == len(TRANSITIONS)


def test_every_state_is_reached_and_left() -> None:
    assert {row.after for row in TRANSITIONS} | {Status.PENDING} == set(Status)
    assert {row.status for row in TRANSITIONS} == set(Status) - {Status.GONE}


def test_only_a_death_changes_queues() -> None:
    assert {row.event.name for row in TRANSITIONS if row.moves} >= {"EXHAUST", "REJECT"}
    assert all(
        row.after is (row.status if row.event is Event.MOVE else Status.WAITING)
        for row in TRANSITIONS
        if row.moves
    )


def test_the_page_shows_this_table() -> None:
    page = QUEUES_PAGE.read_text(encoding="utf-8")
    diagram = page.split("```mermaid\n", 1)[1].split("\n```", 1)[0]
    assert diagram == mermaid(), "run: python -m tests.core.test_transitions"


if __name__ == "__main__":
    before, _, rest = QUEUES_PAGE.read_text(encoding="utf-8").partition("```mermaid\n")
    # The old diagram may be empty: then its fence is the first thing there is.
    _, _, after = f"\n{rest}".partition("\n```")
    QUEUES_PAGE.write_text(f"{before}```mermaid\n{mermaid()}\n```{after}", encoding="utf-8")
