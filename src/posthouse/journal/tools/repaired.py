"""What a repair has to say, as values and as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from posthouse.journal.tools.faults import Fault
from posthouse.journal.tools.losses import Loss
from posthouse.journal.tools.texts import counted, id_text, ids_text, time_text


@dataclass(slots=True)
class RepairReport:
    """What a repair read, wrote and missed.

    Attributes:
        source, target: the two directories.
        segments, groups, records: read, and written into the target.
        messages: put in these.
        living: of them those that nothing read settled: what the target holds.
        faults: all that is wrong with the source.
        losses: those of them that lost something.
        lost_ids: messages that records name as living, and whose bodies were lost.
        invented: names of queues whose own names were lost.
        last_group: the last group read.
        closed: it is that of a clean close; else groups behind it may be lost without a trace, as
            after a crash.
        checkpoints: what is wrong with those of the source, which are not needed to read it.
        torn_bytes: of a group that a crash interrupted, and that was never acknowledged.
    """

    source: str
    target: str
    segments: int = 0
    groups: int = 0
    records: int = 0
    messages: int = 0
    living: int = 0
    faults: list[Fault] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    lost_ids: list[int] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    last_group: int = 0
    closed: bool = False
    checkpoints: list[str] = field(default_factory=list)
    torn_bytes: int = 0


def report_lines(report: RepairReport) -> Iterator[str]:
    """The report for people, whole: every loss, and every id that is known."""
    yield f"repair of {report.source} into {report.target}"
    yield (
        f"read: {counted(report.segments, 'segment')}, {counted(report.groups, 'group')}, "
        f"{counted(report.records, 'record')}"
    )
    yield (
        f"messages: {report.messages:,} put in these, {report.living:,} not settled by them: "
        "these are in the new log"
    )
    if report.torn_bytes:
        yield (
            f"left out: {counted(report.torn_bytes, 'byte')} of a last group that was not written "
            "to its end, as any opening would"
        )
    if not report.closed:
        yield (
            f"not closed cleanly: whether groups were written behind group {report.last_group}, "
            "the last one read, nothing tells"
        )
    for text in report.checkpoints:
        yield f"checkpoint, not needed to read the log: {text}"
    if not report.faults:
        yield "nothing is wrong with it, and nothing was lost"
        return
    yield f"wrong: {counted(len(report.faults), 'place')}"
    for fault in report.faults:
        yield f"  {fault}"
    if not report.losses:
        yield "lost: nothing; all groups could be read"
        return
    yield f"lost: {counted(len(report.losses), 'part')}"
    for loss in report.losses:
        yield from _loss_lines(loss)
    if report.lost_ids:
        yield f"  messages that later records name as living, lost: {ids_text(report.lost_ids)}"
    yield "  messages that were settled in a lost group are in the new log again: at least once"
    yield "  dedup ids, policies and bindings made or ended in a lost group may be as before it"
    for name in report.invented:
        yield f"  the name of a queue was lost; it is {name} now, with the default policy"


def _loss_lines(loss: Loss) -> Iterator[str]:
    yield f"  {loss.fault}"
    after, before = loss.after_id, loss.before_id
    low = f"behind {id_text(after)} ({time_text(after)})" if after else "from the beginning"
    high = f"before {id_text(before)} ({time_text(before)})" if before else "to the end"
    yield f"    messages put there have ids {low} {high}"
    if loss.put:
        ids = [first + rank for first, count in loss.put for rank in range(count)]
        yield f"    its damaged bytes name as put, and they are lost: {ids_text(ids)}"
    if loss.settled:
        text = ids_text(loss.settled)
        yield f"    its damaged bytes name as settled, and they may come back: {text}"
