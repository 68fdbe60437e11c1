"""The fork server: imports everything once and has no loop and no thread, so it may fork.

Reads jobs on standard input, a line each; forks a child for each, kills it when its time is up,
and tells how it ended on the pipe that the child reports on, after everything the child said.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import select
import signal
import sys
import traceback

from tests.lab.process import child
from tests.lab.process.job import Job, decode_job, say_on

MOST_S = 60.0
"""A child that lives longer hangs, whatever it waits for; seconds."""
FAILED = 70
"""The exit code of a child whose program failed."""


def bear(job: Job, alive: tuple[int, int]) -> None:
    """The child's whole life. Never returns."""
    status = FAILED
    try:
        os.close(alive[0])
        faulthandler.dump_traceback_later(MOST_S - 5.0)
        child.run(job)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def attend(job: Job) -> None:
    """Fork a child, see it to its end, and tell."""
    alive = os.pipe()
    pid = os.fork()
    if pid == 0:
        bear(job, alive)
    os.close(alive[1])
    # The end of its pipe is the end of the child: nobody else holds the other end.
    wait_s = MOST_S if job.kill_after_s is None else job.kill_after_s
    ended, _, _ = select.select([alive[0]], [], [], wait_s)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(alive[0])
    hung = not ended and job.kill_after_s is None
    say_on(child.OUT_FD, "ended", os.waitstatus_to_exitcode(status), hung, not ended)


def main() -> None:
    """Serve until standard input ends."""
    # Every killed child makes the next one warn that it recovered the log.
    logging.getLogger("posthouse").setLevel(logging.ERROR)
    for line in sys.stdin.buffer:
        attend(decode_job(line))


if __name__ == "__main__":
    main()
