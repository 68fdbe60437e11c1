"""The command line: ``posthouse`` and ``python -m posthouse``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from posthouse.cli.app import app
from posthouse.cli.failures import guarded

__all__ = ["main", "run"]


def main() -> None:
    """Run the command in ``sys.argv`` and exit with its code."""
    logging.basicConfig(level=logging.WARNING, format="posthouse: %(message)s", stream=sys.stderr)
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run the command in ``arguments`` on the standard streams; returns its exit code."""
    # Not standalone: errors come to us, to be told in one line.
    return guarded(lambda: app(arguments, prog_name="posthouse", standalone_mode=False))
