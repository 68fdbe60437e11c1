"""One owner at a time: in one process and in two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from posthouse.errors import AlreadyOpen
from posthouse.journal.files import RealFiles
from tests.journal.logs import open_records, salts, small_options

CHILD = """
import sys
from posthouse.journal.files import RealFiles
from posthouse.journal.log import LogOptions, open_log
log = open_log(sys.argv[1], RealFiles(), LogOptions(segment_bytes=65536), lambda record: None, 1)
print("open", flush=True)
sys.stdin.read()
"""


def test_two_handles_of_one_process(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    log, _ = open_records(RealFiles(), directory=directory)
    with pytest.raises(AlreadyOpen) as refused:
        open_records(RealFiles(), directory=directory)
    assert refused.value.pid == os.getpid()
    # The refused one must not have taken the lock with it.
    with pytest.raises(AlreadyOpen):
        open_records(RealFiles(), directory=directory)
    log.abandon()
    log.abandon()
    open_records(RealFiles(), small_options(salt=salts(9)), directory)[0].abandon()


def test_two_processes(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(AlreadyOpen) as refused:
            open_records(RealFiles(), directory=directory)
        assert refused.value.pid == child.pid
        child.kill()
        child.wait(30)
    # A lock dies with its process.
    log, _ = open_records(RealFiles(), small_options(salt=salts(9)), directory)
    assert log.epoch == 2
    log.abandon()
