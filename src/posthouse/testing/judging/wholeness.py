"""All or none: whether a batch or a transaction whose outcome is not known was done by halves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from posthouse.testing.judging.fate import Fate


@dataclass(slots=True)
class Whole:
    """What must happen together.

    Attributes:
        puts: (queue, body); acks: bodies.
        came_back: acked bodies that were seen after it began, while its outcome was not known.
    """

    op: int
    puts: list[tuple[str, str]]
    acks: list[str]
    outcome: str = "unknown"
    came_back: list[str] = field(default_factory=list)


def lost(fate: Fate) -> str:
    """The sentence for a message that should be there and is not."""
    why = "its put was acknowledged" if fate.put == "done" else "it had been delivered"
    places = " or ".join(repr(queue) for queue in sorted(fate.where)) or "its queue"
    return f"lost: {fate.body!r} is not in {places}, though {why} and nothing settled it"


def halves(
    wholes: Iterable[Whole], fates: Mapping[str, Fate], found: Mapping[str, set[str]]
) -> Iterator[str]:
    """A sentence for each one of unknown outcome that was done by halves."""
    present = set().union(*found.values()) if found else set()
    for whole in wholes:
        if whole.outcome != "unknown" or len(whole.puts) + len(whole.acks) < 2:
            continue
        done = [body for _, body in whole.puts if fates[body].seen]
        undone = list(whole.came_back)
        for queue, body in whole.puts:
            fate = fates[body]
            if queue in found and not fate.seen and not fate.causes and body not in present:
                undone.append(body)
        for body in whole.acks:
            fate = fates[body]
            missing = fate.where.keys() <= found.keys() and body not in present
            if missing and found and fate.causes == {whole.op}:
                done.append(body)
        if done and undone:
            what = "transaction" if whole.acks else "batch or transaction"
            yield (f"{what} {whole.op} was done by halves: done for {done}, not done for {undone}")
