"""``python -m bench``: which rows, how long, where to write."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import machine, profile, report
from bench.measure import fresh_directory, loop_factory, run_row
from bench.model import Outcome, Row
from bench.rows import all_rows

SIZES_BYTES = (1024,)
ALL_SIZES_BYTES = (128, 1024, 16 * 1024)
DATA = Path(__file__).resolve().parent.parent / ".bench"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rows", default="", help="M1,D2,...: these only (default: all)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--all-sizes", action="store_true", help="128 B and 16 KiB bodies too")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument(
        "--dir", type=Path, default=DATA, help="where to put data (default: the tree's .bench)"
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    parser.add_argument(
        "--profile", metavar="ROW", help="run our side of one row under cProfile instead"
    )
    return parser


def _chosen(names: str) -> list[Row]:
    rows = all_rows()
    if not names:
        return rows
    wanted = {name.strip().upper() for name in names.split(",")}
    unknown = wanted - {row.family for row in rows}
    if unknown:
        raise SystemExit(f"no such row: {', '.join(sorted(unknown))}")
    return [row for row in rows if row.family in wanted]


def say(text: str) -> None:
    """Show progress at once."""
    print(text, flush=True)


def main() -> int:
    """Run the rows that the command line names; 1 when something failed, else 0."""
    args = _parser().parse_args()
    if args.seconds <= 0 or args.rounds < 1:
        raise SystemExit("--seconds must be above 0 and --rounds at least 1")
    factory = loop_factory(args.loop)
    if args.profile:
        for row in _chosen(args.profile):
            profile.run(row, args.seconds, args.dir, factory)
        return 0
    with fresh_directory(args.dir) as directory:
        facts = machine.facts(directory, args.loop)
    if "warning" in facts:
        say(f"warning: {facts['warning']}")
    outcomes: list[Outcome] = []
    for row in _chosen(args.rows):
        for size in ALL_SIZES_BYTES if args.all_sizes else SIZES_BYTES:
            say(f"{row.name}, {size:,} B: {row.work}")
            outcome = run_row(row, size, args.seconds, args.rounds, args.dir, factory, say)
            outcomes.append(outcome)
            for line in report.lines_of(outcome):
                say(f"  -> {line.reference}: ratio {line.ratio}, goal {line.goal}: {line.result}")
    if args.write is not None:
        page = report.markdown(outcomes, facts, args.seconds, args.rounds)
        args.write.write_text(page, encoding="utf-8")
    failed = [outcome for outcome in outcomes if outcome.errors]
    for outcome in failed:
        for name, text in outcome.errors.items():
            print(f"failed: {outcome.row.name}: {name}: {text}", file=sys.stderr)
    return 1 if failed else 0
