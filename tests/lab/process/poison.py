"""A message that kills whoever takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.process.job import Job
from tests.lab.process.ledger import Ledger
from tests.lab.process.nursery import Nursery
from tests.lab.process.queues import MAX_ATTEMPTS


def run_poison(nursery: Nursery, seed: int, directory: Path) -> list[tuple[str, int]]:
    """Put one message and take it until it stays away; the (queue, attempt) of each delivery.

    Each taker dies of it at once. The last one finds it in the dead-letter queue, alone.
    """
    ledger = Ledger()
    deliveries: list[tuple[str, int]] = []
    found: dict[str, list[Any]] = {}

    def take(word: str, *fields: Any) -> None:
        ledger.take(word, *fields)
        if word == "got":
            deliveries.append((fields[0], fields[4]))
        elif word == "left":
            found[fields[0]] = fields[1]

    def live(**job: Any) -> str:
        end = nursery.raise_child(Job(directory=str(directory), seed=seed, **job), take)
        ledger.life_over(end != "closed")
        return end

    live(work="put", name="deadly")
    for _ in range(MAX_ATTEMPTS["a"]):
        assert live(work="poison") == "point"
    assert live(work="drain") == "closed"
    assert ledger.problems() == [], ledger.history.to_text()
    assert [len(found[name]) for name in ("a", "a.dead")] == [0, 1], found
    return deliveries
