"""The demo end to end on a few files, with its kill in the middle."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec

from posthouse.cli.demo import events
from posthouse.cli.demo.events import Job, Totals
from posthouse.cli.demo.parent import look, prepare
from posthouse.cli.demo.process import Child, write_job
from tests.cli.commands import posthouse


def sources(folder: Path, count: int) -> list[str]:
    """Files that parse, with one in five that does not."""
    folder.mkdir()
    for number in range(count):
        text = "def broken(:\n" if number % 5 == 0 else f"import os\ndef f{number}(): ...\n"
        (folder / f"m{number:03}.py").write_text(text)
    return sorted(str(path) for path in folder.iterdir())


def test_the_demo_survives_its_kill(tmp_path: Path) -> None:
    sources(tmp_path / "code", 60)
    ran = posthouse("demo", "--files", "code/**/*.py", cwd=tmp_path)
    assert ran.code == 0, ran
    assert ran.err == ""
    assert "\x1b" not in ran.out
    assert "killed with SIGKILL" in ran.out
    for title, value in (
        ("files", 60),
        ("do not parse", 12),
        ("functions", 48),
        ("imports", 48),
    ):
        assert re.search(rf"^{title} +{value} +{value}$", ran.out, re.MULTILINE), ran.out
    for title, value in (("put", 60), ("lost", 0), ("counted twice", 0)):
        assert re.search(rf"^{title} +{value}$", ran.out, re.MULTILINE), ran.out
    assert ran.out.endswith("All as it must be.\n")


def test_one_file_is_enough(tmp_path: Path) -> None:
    sources(tmp_path / "code", 1)
    assert posthouse("demo", "--files", "code/*.py", cwd=tmp_path).code == 0


def test_no_file_is_an_error(tmp_path: Path) -> None:
    ran = posthouse("demo", "--files", "*.py", cwd=tmp_path)
    assert ran.code == 1
    assert ran.err == "posthouse: no file matches '*.py'\n"


async def lives(url: str, files: list[str], job_path: Path, reports: int) -> list[events.AnyEvent]:
    """One life of a child, killed once it has reported so often (it may end before)."""
    told: list[events.AnyEvent] = []
    write_job(job_path, Job(url, files))
    async with Child(job_path) as child:
        async for event in child.events():
            told.append(event)
            if len(told) == reports:
                child.kill()
    return told


async def test_a_child_killed_again_and_again_gets_there(tmp_path: Path) -> None:
    files = sources(tmp_path / "code", 40)
    url = str(tmp_path / "data")
    await prepare(url)
    told: list[events.AnyEvent] = []
    for reports in (1, 2, 25, 50, 75, 10**6):
        told += await lives(url, files, tmp_path / "job", reports)
    assert isinstance(told[-1], events.Finished)
    totals, left = await look(url)
    assert left == []
    assert (totals.counts.files, totals.counts.failed) == (40, 8)


async def test_a_child_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    write_job(tmp_path / "job", Job("gopher:x", []))
    async with Child(tmp_path / "job") as child:
        assert [event async for event in child.events()] == []
        why = await child.why_it_ended()
    assert "ended with code 1" in why
    assert "gopher" in why
    assert "Traceback" not in why


async def test_a_child_asked_to_stop_leaves_and_can_go_on(tmp_path: Path) -> None:
    files = sources(tmp_path / "code", 20)
    url = str(tmp_path / "data")
    await prepare(url)
    write_job(tmp_path / "job", Job(url, files, hold_at=10))
    async with Child(tmp_path / "job") as child:
        async for event in child.events():
            if isinstance(event, events.Added):
                child.process.terminate()
        assert "stopped by a signal" in await child.why_it_ended()
    told = await lives(url, files, tmp_path / "job", 10**6)
    assert isinstance(told[-1], events.Finished)
    totals, left = await look(url)
    assert (totals.counts.files, left) == (20, [])


async def test_prepared_queues_hold_an_empty_total(tmp_path: Path) -> None:
    await asyncio.wait_for(prepare(str(tmp_path / "data")), 30)
    assert await look(str(tmp_path / "data")) == (Totals(), [])
    assert msgspec.json.decode(msgspec.json.encode(Totals()), type=Totals) == Totals()
