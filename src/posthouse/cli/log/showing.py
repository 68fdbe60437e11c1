"""The reports of the log's tools: as lines for people, as values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from posthouse.cli.output import human_size
from posthouse.journal.tools.backup import BackupReport
from posthouse.journal.tools.check import CheckReport
from posthouse.journal.tools.faults import Fault
from posthouse.journal.tools.repair import REPORT_NAME
from posthouse.journal.tools.repaired import RepairReport, report_lines
from posthouse.journal.tools.restore import RestoreReport
from posthouse.journal.tools.texts import counted, id_text, time_text

_FAULTS_SHOWN = 100


def check_lines(report: CheckReport) -> Iterator[str]:
    """A check for people."""
    faults = report.faults
    verdict = f"damaged, {counted(len(faults), 'place')}" if faults else "sound"
    yield f"{report.directory}: {verdict}"
    parts = [counted(report.segments, "segment"), counted(report.groups, "group")]
    if report.end is not None:
        parts.append(counted(report.records, "record"))
    if report.checkpoints:
        parts.append(counted(report.checkpoints, "checkpoint"))
    yield f"readable: {', '.join(parts)}, {human_size(report.size_bytes)}"
    if report.end is not None:
        name, offset = report.end
        how = "closed cleanly" if report.closed else "not closed: a broker has it open, or crashed"
        yield f"ends at {name} offset {offset}, {how}"
    if report.torn_bytes:
        yield (
            f"behind that, {counted(report.torn_bytes, 'byte')} of a group that was not written to "
            "its end: no damage, an opening leaves them out"
        )
    for fault in faults[:_FAULTS_SHOWN]:
        yield f"{fault}"
        yield f"  it means: {fault.kind.value}"
        yield f"  to do: {fault.kind.remedy}"
    if len(faults) > _FAULTS_SHOWN:
        yield f"and {len(faults) - _FAULTS_SHOWN:,} places more (--json lists all)"
    for note in report.notes:
        yield f"note: {note}"


def check_record(report: CheckReport) -> dict[str, Any]:
    """A check for machines."""
    record = dataclasses.asdict(report)
    record["sound"] = report.sound
    record["end"] = None if report.end is None else dict(zip(("file", "offset"), report.end))
    record["faults"] = [_fault(fault) for fault in report.faults]
    return record


def repair_lines(report: RepairReport) -> Iterator[str]:
    """A repair for people."""
    yield from report_lines(report)
    yield f"this list is in {report.target}/{REPORT_NAME} as well"


def repair_record(report: RepairReport) -> dict[str, Any]:
    """A repair for machines."""
    record = dataclasses.asdict(report)
    record["faults"] = [_fault(fault) for fault in report.faults]
    record["losses"] = [
        {
            "fault": _fault(loss.fault),
            "after_id": id_text(loss.after_id) if loss.after_id else None,
            "before_id": id_text(loss.before_id) if loss.before_id else None,
            "put": [id_text(first + n) for first, count in loss.put for n in range(count)],
            "settled": [id_text(number) for number in loss.settled],
        }
        for loss in report.losses
    ]
    record["lost_ids"] = [id_text(number) for number in report.lost_ids]
    return record


def backup_line(report: BackupReport) -> str:
    """A backup for people."""
    return (
        f"{report.target}: the log at the end of group {report.last_group}, "
        f"{counted(report.segments, 'segment')}, {human_size(report.size_bytes)}; "
        f"copied now: {report.copied:,}, {human_size(report.copied_bytes)}"
    )


def restore_line(report: RestoreReport) -> str:
    """A restore for people."""
    return (
        f"{report.target}: the log at the end of group {report.last_group}, "
        f"backed up at {time_text(report.taken_ns)}: {counted(report.segments, 'segment')}, "
        f"{counted(report.records, 'record')}, {human_size(report.size_bytes)}, all of it sound"
    )


def restore_record(report: RestoreReport) -> dict[str, Any]:
    """A restore for machines."""
    record = dataclasses.asdict(report)
    record["taken_at"] = time_text(record.pop("taken_ns"))
    return record


def _fault(fault: Fault) -> dict[str, Any]:
    record = dataclasses.asdict(fault)
    record["kind"] = fault.kind.name.lower()
    record["meaning"] = fault.kind.value
    record["remedy"] = fault.kind.remedy
    return record
