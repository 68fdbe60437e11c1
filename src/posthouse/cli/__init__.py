"""The command line: ``posthouse`` and ``python -m posthouse``."""

from __future__ import annotations

import logging
import sys

from posthouse.cli.app import app
from posthouse.cli.failures import guarded

__all__ = ["main"]


def main() -> None:
    """Run the command in ``sys.argv`` and exit with its code."""
    logging.basicConfig(level=logging.WARNING, format="posthouse: %(message)s", stream=sys.stderr)
    # Not standalone: errors come to us, to be told in one line.
    sys.exit(guarded(lambda: app(prog_name="posthouse", standalone_mode=False)))
