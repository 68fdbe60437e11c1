"""``python -m bench.peers``: whom, which rows, how long, where to write."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from bench import machine
from bench.cli import DATA, say
from bench.peers import harness, page
from bench.peers.model import Peer, Row, Settings
from bench.peers.packages import Kit
from bench.peers.registry import OURS, PEERS
from bench.peers.rows import ROWS


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    names = ",".join(PEERS)
    parser.add_argument(
        "--peers", default=names, help=f'these only, none for "" (default: {names})'
    )
    parser.add_argument("--peers-only", action="store_true", help="without posthouse itself")
    parser.add_argument("--rows", default="", help="N1,N2,N3: these only (default: all)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--size-bytes", type=int, default=1024, help="of a body (default 1024)")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument(
        "--dir", type=Path, default=DATA, help="where to put data (default: the tree's .bench)"
    )
    parser.add_argument(
        "--packages",
        type=Path,
        metavar="DIR",
        help="keep what is installed there, and use it again (default: remove it)",
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page there")
    return parser


def chosen(names: str, known: Mapping[str, Peer]) -> list[Peer]:
    """The peers that ``names`` lists; SystemExit for one that is not known."""
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise SystemExit(f"no such peer: {', '.join(unknown)}; there are: {', '.join(known)}")
    return [peer for name, peer in known.items() if name in wanted]


def rows_of(names: str) -> list[Row]:
    """The rows that ``names`` lists, all if it is empty; SystemExit for one that is not known."""
    wanted = {name.strip().upper() for name in names.split(",") if name.strip()}
    families = {row.family for row in ROWS}
    if wanted - families:
        raise SystemExit(f"no such row: {', '.join(sorted(wanted - families))}")
    return [row for row in ROWS if not wanted or row.family in wanted]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure whom the command line names; 1 when something failed, else 0."""
    args = _parser().parse_args(arguments)
    if args.seconds <= 0 or args.rounds < 1 or args.size_bytes < 8:
        raise SystemExit("--seconds must be above 0, --rounds at least 1, --size-bytes at least 8")
    peers, rows = chosen(args.peers, PEERS), rows_of(args.rows)
    signal.signal(signal.SIGTERM, _stop)
    base = args.dir.resolve()
    settings = Settings(args.seconds, args.rounds, args.size_bytes, args.loop, base)
    with ExitStack() as stack:
        scratch = stack.enter_context(harness.scratch_directory(base, "facts-"))
        facts = machine.facts(scratch, args.loop)
        if "warning" in facts:
            say(f"warning: {facts['warning']}")
        facts |= page.idle_fact(scratch)
        packages = args.packages
        if packages is None:
            packages = stack.enter_context(harness.scratch_directory(base, "packages-"))
        kit = Kit(packages.resolve(), say)
        results = harness.run(peers, None if args.peers_only else OURS, rows, settings, kit, say)
    text = page.markdown(rows, results, facts, settings)
    if args.write is not None:
        args.write.write_text(text, encoding="utf-8")
    else:
        say(text)
    for (row, contender), error in results.errors.items():
        print(f"failed: {row}: {contender}: {error}", file=sys.stderr)
    return 1 if results.errors else 0


def _stop(_number: int, _frame: FrameType | None) -> None:
    # So that servers are stopped and directories removed on the way out.
    raise SystemExit("stopped")
