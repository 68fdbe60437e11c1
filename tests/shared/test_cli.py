"""Commands on a directory that is shared: they join it, and show who serves it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.cli.commands import posthouse
from tests.shared.places import nobody, served, share, status_of


async def test_commands_join_a_directory_that_is_shared(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with share(data) as broker:
        put = await asyncio.to_thread(
            posthouse, "put", "q", '"hello"', "--url", "data", cwd=tmp_path
        )
        assert put.code == 0, put
        message = await asyncio.wait_for(broker.queue("q").get(), 30)
        assert message.body == "hello"
        for url in ("data", "log:data", "shared:data"):
            ran = await asyncio.to_thread(posthouse, "stats", "--url", url, cwd=tmp_path)
            assert ran.code == 0, ran
            line = ran.out.splitlines()[-1]
            pid = status_of(data).pid
            assert re.fullmatch(
                rf"shared through broker process {pid} \(posthouse [\d.]+\), up \d+ s, "
                r"[12] connected",
                line,
            )
        as_json = await asyncio.to_thread(
            posthouse, "stats", "--json", "--url", "data", cwd=tmp_path
        )
        assert as_json.json[0][0]["in_flight"] == 1
    await nobody(data)
    assert served(data) == 1


async def test_commands_have_any_other_directory_for_themselves(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with share(data) as broker:
        await broker.queue("q").put(1)
    await nobody(data)
    ran = await asyncio.to_thread(posthouse, "stats", "--url", "data", cwd=tmp_path)
    assert ran.code == 0, ran
    assert "broker process" not in ran.out
    assert served(data) == 1
    joined = await asyncio.to_thread(posthouse, "queues", "--url", "shared:data", cwd=tmp_path)
    assert joined.out == "q\n"
    assert served(data) == 2
    await nobody(data)


def test_a_shared_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    ran = posthouse("stats", "--url", "shared:nowhere", cwd=tmp_path)
    assert ran.code == 1
    assert ran.err == (
        "posthouse: there is no nowhere; name the directory with --url or POSTHOUSE_URL\n"
    )
    assert not (tmp_path / "nowhere").exists()
