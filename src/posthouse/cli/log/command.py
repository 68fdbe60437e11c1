"""``posthouse log check | dump | repair | backup | restore``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from posthouse.cli import output
from posthouse.cli.bar import segments_bar
from posthouse.cli.failures import FAILED, CommandError
from posthouse.cli.log import records, showing
from posthouse.cli.options import JsonOption
from posthouse.journal.files import RealFiles
from posthouse.journal.tools.backup import backup_log
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.dump import Dump
from posthouse.journal.tools.files import ReadingFiles
from posthouse.journal.tools.repair import repair_log
from posthouse.journal.tools.restore import check_backup, is_backup, restore_backup

app = typer.Typer(
    name="log",
    help="Check, read out, repair, back up and restore the files of a log.",
)

LogArgument = Annotated[str, typer.Argument(metavar="DIR", help="The log's directory.")]
TargetArgument = Annotated[
    str, typer.Argument(metavar="DEST", help="A directory that is new or empty.")
]


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def check(directory: LogArgument, as_json: JsonOption = False) -> None:
    """Verify every frame of a log, or every copy of a backup; say what is wrong and where.

    It only reads, needs no lock, and may run while a broker has the log open. The exit code is 0 if
    the log is sound and 1 if it is damaged.
    """
    files = ReadingFiles()
    with segments_bar("check") as progress:
        look = check_backup if is_backup(files, directory) else check_log
        report = look(files, directory, progress)
    if as_json:
        output.write_json(showing.check_record(report))
    else:
        for line in showing.check_lines(report):
            output.write_line(line)
    if not report.sound:
        raise typer.Exit(FAILED)


@app.command()
def dump(
    directory: LogArgument,
    segment: Annotated[
        int | None, typer.Option("--segment", metavar="N", min=1, help="Only this segment.")
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="QUEUE", help="Only records of this queue.")
    ] = None,
    whole: Annotated[bool, typer.Option("--bodies", help="Bodies whole, not shortened.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print every record of a log, in order; what cannot be read is named in its place."""
    log = Dump(ReadingFiles(), directory, segment)
    printer = records.Printer(log.names, queue=queue, whole=whole, as_json=as_json)
    for item in log:
        printer.show(item)
    if queue is not None and queue not in log.names.values():
        names = ", ".join(sorted(log.names.values())) or "none"
        raise CommandError(f"there is no queue {ascii(queue)} in it; there are: {names}")


@app.command()
def repair(directory: LogArgument, target: TargetArgument, as_json: JsonOption = False) -> None:
    """Salvage all that can be read into a new log, and list what was lost.

    The damaged log is not touched. Messages that were settled in a part that is lost come back.
    """
    with segments_bar("repair") as progress:
        report = repair_log(
            RealFiles(),
            directory,
            target,
            time.time_ns(),
            reading=ReadingFiles(),
            progress=progress,
        )
    if as_json:
        output.write_json(showing.repair_record(report))
    else:
        for line in showing.repair_lines(report):
            output.write_line(line)


@app.command()
def backup(
    directory: LogArgument,
    target: Annotated[
        str, typer.Argument(metavar="DEST", help="A new directory, or an earlier backup of DIR.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy a log, which a broker may have open; again into the same place copies what is new.

    The copy is the log as it was at one moment, after this command began.
    """
    with segments_bar("backup") as progress:
        report = backup_log(
            RealFiles(),
            directory,
            target,
            time.time_ns(),
            reading=ReadingFiles(),
            progress=progress,
        )
    if as_json:
        output.write_json(report)
    else:
        output.write_line(showing.backup_line(report))


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="BACKUP", help="The backup's directory.")],
    target: TargetArgument,
    as_json: JsonOption = False,
) -> None:
    """Make a new log of a backup, every byte of it checked on the way."""
    with segments_bar("restore") as progress:
        report = restore_backup(RealFiles(), source, target, progress=progress)
    if as_json:
        output.write_json(showing.restore_record(report))
    else:
        output.write_line(showing.restore_line(report))
