"""The command line over a server: ``serve``, ``--url tcp://…`` and ``top``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from posthouse.cli.top import Looks
from posthouse.model import QueueStats
from posthouse.testing import serve
from tests.server.process import ServerProcess


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "posthouse", *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_commands_work_through_a_server(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "data", "--log-json") as server:
        url = ("--url", server.url)
        assert run("put", "jobs", "1", "2", "3", *url).returncode == 0
        assert run("get", "jobs", *url).stdout == "1\n"
        assert run("peek", "jobs", *url).stdout == "2\n"
        assert json.loads(run("stats", "--json", *url).stdout)[0]["waiting"] == 2
        assert run("bind", "news", "jobs", *url).returncode == 0
        assert run("publish", "news", '"x"', *url).returncode == 0
        assert run("purge", "jobs", "--yes", *url).stdout == "3 purged from jobs\n"
        shown = run("top", "--count", "2", "--every", "0.1", *url)
        assert "jobs" in shown.stdout
        assert shown.returncode == 0
        in_use = run("stats", "--url", str(tmp_path / "data"))
        assert in_use.returncode == 1
        assert "already open" in in_use.stderr
        assert server.end() == 0
    assert run("stats", "--url", str(tmp_path / "data")).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serve", "{}", "--listen", "tcp://0.0.0.0:0"), "0.0.0.0"),
        (("serve", "{}", "--listen", "nonsense"), "tcp://127.0.0.1"),
        (("serve", "sqlite:///{}/x.db"), "directory"),
        (("stats", "--url", "tcp://127.0.0.1:1"), "posthouse serve"),
        (("stats", "--url", "tcp://127.0.0.1:x"), "tcp://HOST:PORT"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*[each.format(tmp_path) for each in arguments])
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("posthouse: ")]
    assert len(lines) == 1
    assert said in lines[0]


def test_an_address_in_use() -> None:
    with serve() as server:
        done = run("serve", "memory:", "--listen", server.url)
        assert done.returncode == 1
        assert "in use" in done.stderr


def test_rates() -> None:
    def figures(put: int, acked: int) -> QueueStats:
        return QueueStats("q", 1, 0, 0, 0, 0.0, put, acked, 0, 0, 0, 0, 0)

    looks = Looks()
    assert looks.rates([figures(10, 5)], 100.0) == [(0.0, 0.0)]
    assert looks.rates([figures(30, 15)], 102.0) == [(10.0, 5.0)]
    assert looks.rates([figures(3, 1)], 103.0) == [(0.0, 0.0)], "it was restarted"
