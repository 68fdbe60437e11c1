"""One of several processes that want the same directory. Told on standard input when."""

from __future__ import annotations

import os
import sys

from posthouse.errors import AlreadyOpen
from posthouse.journal.files import RealFiles
from posthouse.journal.log import LogOptions, open_log

WON = "won"
LOST = "lost"


def main() -> None:
    """At each line: try to open the log there, say how it went; give it up at the next line."""
    options = LogOptions(segment_bytes=64 * 1024, ring_slots=16)
    print("ready", os.getpid(), flush=True)
    for line in sys.stdin:
        try:
            log = open_log(line.strip(), RealFiles(), options, lambda record: None, 1)
        except AlreadyOpen as error:
            print(LOST, error.pid, flush=True)
            sys.stdin.readline()
        else:
            print(WON, log.epoch, flush=True)
            sys.stdin.readline()
            log.abandon()
        print("free", 0, flush=True)


if __name__ == "__main__":
    main()
