"""The soak's bookkeeping."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.lab import soak
from tests.lab.conftest import Lab

OUTPUT = """\
....                                                                     [100%]
lab disk flips: 1,234 bit flips in 2.0 s (seed base 7)
lab kills: 300 kills in 20.5 s (seed base 7)
4 passed in 23.11s
"""


def test_what_runs_reached_is_added_up() -> None:
    found = soak.Soak()
    found.add(OUTPUT)
    found.add(OUTPUT)
    assert found.counts["kills"] == soak.Count(600, "kills", 41.0)
    assert found.counts["disk flips"] == soak.Count(2468, "bit flips", 4.0)
    assert "| kills | 600 kills | 20,000 | 15 |" in soak.table(found.counts)


def test_the_lines_are_those_of_the_laboratory() -> None:
    lab = Lab(7, 3.0)
    lab.count("kills", 1200, "kills")
    found = soak.Soak()
    found.add("\n".join(lab.lines()))
    assert found.counts["kills"].count == 1200


def test_every_part_has_tests() -> None:
    found = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "tests/lab"],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        pytest.skip("not a checkout of git")
    for part in soak.PARTS:
        for path in part.paths:
            assert any(name.startswith(path) for name in found.stdout.split()), path


def test_a_failing_part_ends_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs: list[list[str]] = []

    def fail(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        runs.append(command)
        return subprocess.CompletedProcess(command, 1, OUTPUT + "seed 7: to replay: ...", "")

    monkeypatch.setattr(subprocess, "run", fail)
    found = soak.Soak()
    found.run_part(soak.PARTS[0], 3600.0)
    assert len(runs) == 1
    assert found.failures == ["kills"]
    assert found.counts["kills"].count == 300
    assert "seed 7: to replay" in capsys.readouterr().out


def test_parts_are_chosen_by_name() -> None:
    assert soak.chosen([]) == list(soak.PARTS)
    assert [part.name for part in soak.chosen(["fuzz", "disk"])] == ["disk", "fuzz"]
