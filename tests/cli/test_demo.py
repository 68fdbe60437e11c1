"""The demo end to end on a few files, with its kills in the middle."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec

import posthouse as api
from posthouse.cli.demo import events
from posthouse.cli.demo.brokers import kill_broker
from posthouse.cli.demo.child import LINGER_S
from posthouse.cli.demo.events import Job, Role, Totals
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


def test_the_demo_survives_its_kills(tmp_path: Path) -> None:
    sources(tmp_path / "code", 60)
    ran = posthouse("demo", "--files", "code/**/*.py", cwd=tmp_path)
    assert ran.code == 0, ran
    assert ran.err == ""
    assert "\x1b" not in ran.out
    assert "killed a consumer with SIGKILL" in ran.out
    assert "killed the broker process" in ran.out
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


def opened(url: str) -> api.Broker:
    return api.open(url, linger_s=LINGER_S)


async def life(
    role: Role, url: str, files: list[str], job_path: Path, reports: int
) -> list[events.AnyEvent]:
    """One life of a child, killed once it has reported so often (it may end before)."""
    told: list[events.AnyEvent] = []
    write_job(job_path, Job(role, url, files))
    async with Child(job_path) as child:
        async for event in child.events():
            told.append(event)
            if len(told) == reports:
                child.kill()
    return told


async def test_children_killed_again_and_again_get_there(tmp_path: Path) -> None:
    files = sources(tmp_path / "code", 40)
    url = f"shared:{tmp_path / 'data'}"
    job = tmp_path / "job"
    async with opened(url) as broker:
        await prepare(broker)
        for reports in (2, 10**6):
            told = await life("producer", url, files, job, reports)
        assert isinstance(told[-1], events.Finished)
        await life("consumer", url, files, job, 9)
        write_job(tmp_path / "more", Job("consumer", url, files))
        async with Child(tmp_path / "more") as consumer:
            for reports in (2, 10**6):
                told = await life("collector", url, files, job, reports)
            assert isinstance(told[-1], events.Finished)
            consumer.stop()
            assert await consumer.wait() == 0
        totals, left = await look(broker)
    assert left == []
    assert (totals.counts.files, totals.counts.failed) == (40, 8)


async def test_a_broker_killed_again_and_again_is_started_anew(tmp_path: Path) -> None:
    files = sources(tmp_path / "code", 60)
    data = tmp_path / "data"
    url = f"shared:{data}"
    kills = 0
    async with opened(url) as broker:
        await prepare(broker)
        write_job(tmp_path / "job", Job("producer", url, files))
        async with Child(tmp_path / "job") as child:
            async for event in child.events():
                if isinstance(event, events.Put):
                    kill_broker(data)
                    kills += 1
            assert await child.wait() == 0
        assert kills >= 1
        assert (await broker.queue(events.SOURCES).stats()).waiting == 60


async def test_a_child_may_be_asked_to_leave_while_it_starts(tmp_path: Path) -> None:
    async def heard(child: Child) -> list[events.AnyEvent]:
        return [event async for event in child.events()]

    job = tmp_path / "job.json"
    write_job(job, Job("consumer", "memory:", []))
    async with Child(job) as child:
        child.stop()
        assert not await heard(child)
        assert await child.ended_well(finished=False)
    async with Child(job) as child:  # nobody asked this one
        child.process.terminate()
        await heard(child)
        assert not await child.ended_well(finished=False)


async def test_a_child_that_fails_says_why_in_one_line(tmp_path: Path) -> None:
    write_job(tmp_path / "job", Job("collector", "gopher:x", []))
    async with Child(tmp_path / "job") as child:
        assert [event async for event in child.events()] == []
        why = await child.why_it_ended()
    assert "ended with code 1" in why
    assert "gopher" in why
    assert "Traceback" not in why


async def test_prepared_queues_hold_an_empty_total(tmp_path: Path) -> None:
    async with api.open(str(tmp_path / "data")) as broker:
        await asyncio.wait_for(prepare(broker), 30)
        assert await look(broker) == (Totals(), [])
    assert msgspec.json.decode(msgspec.json.encode(Totals()), type=Totals) == Totals()
