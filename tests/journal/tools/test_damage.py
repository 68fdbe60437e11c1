"""Random damage to a log with a bit of everything: check agrees with opening, repair with both."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from random import Random

import pytest

import posthouse
from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.files import RealFiles
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.dump import Dump
from posthouse.journal.tools.repair import repair_log
from tests.journal.tools.made import OPTIONS, READING, Harm, segments


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One log closed cleanly, and as it was when its program was about to close it."""
    closed, crashed = (tmp_path_factory.mktemp("rich") / name for name in ("closed", "crashed"))
    asyncio.run(make_rich_log(closed, crashed))
    return [closed, crashed]


async def make_rich_log(closed: Path, crashed: Path) -> None:
    random = Random(5)
    for life in range(3):
        async with posthouse.open(str(closed), ring_slots=16, **OPTIONS) as broker:
            sales = broker.topic("sales")
            orders = broker.queue("orders", retry=posthouse.Retry(max_attempts=2))
            await orders.bind(sales, "tea.*")
            for number in range(40):
                await orders.put_many([random.randbytes(random.randrange(1, 400))] * 6)
                await broker.queue("ranked", order="priority").put(
                    number, priority=number % 5, dedup=f"{life}-{number}"
                )
                if random.random() < 0.5:
                    await sales.publish({"n": number}, key="tea.green")
                for message in await orders.get_many(random.randrange(1, 5)):
                    chance = random.random()
                    if chance < 0.4:
                        await message.ack()
                    elif chance < 0.6:
                        await message.nack(delay=0)
                    elif chance < 0.8:
                        await message.reject("bad")
            if life == 2:
                shutil.copytree(closed, crashed, ignore=shutil.ignore_patterns("spare*"))


async def held(directory: Path) -> int | None:
    """How many messages a log holds; None if it does not open."""
    try:
        async with posthouse.open(str(directory), **OPTIONS) as broker:
            return sum(
                each.waiting + each.delayed + each.in_flight for each in await broker.stats()
            )
    except (LogDamaged, LogUnreadable):
        return None


def do_harm(directory: Path, random: Random) -> None:
    """One to five times: bits, stretches cut out, ends cut off, noise, files gone."""
    harm = Harm(directory)
    for _ in range(random.choice([1, 1, 2, 5])):
        name = random.choice(segments(directory))
        path = directory / name
        size = path.stat().st_size
        if not size:
            continue
        at = random.randrange(size)
        match random.randrange(8):
            case 0 | 1 | 2:
                harm.flip(name, at, random.randrange(8))
            case 3 | 4:
                data = bytearray(path.read_bytes())
                del data[at : at + random.randrange(1, 5_000)]
                path.write_bytes(data)
            case 5:
                harm.cut(name, at)
            case 6:
                data = bytearray(path.read_bytes())
                data[at : at + 2_000] = random.randbytes(len(data[at : at + 2_000]))
                path.write_bytes(data)
            case _ if len(segments(directory)) > 1:
                harm.remove(name)
            case _:
                pass


@pytest.mark.parametrize("seed", range(24))
async def test_any_damage(rich: list[Path], tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    damaged, mended = tmp_path / "damaged", tmp_path / "mended"
    # Without checkpoints, which let an opening go past a segment without reading it.
    shutil.copytree(random.choice(rich), damaged, ignore=shutil.ignore_patterns("*.ckp"))
    do_harm(damaged, random)
    report = check_log(READING, str(damaged))
    for _ in Dump(READING, str(damaged)):
        pass  # whatever it is, it is read to the end
    repaired = repair_log(RealFiles(), str(damaged), str(mended), time.time_ns(), reading=READING)
    assert bool(repaired.losses) <= (not report.sound) or not report.closed
    assert check_log(READING, str(mended)).sound
    assert await held(mended) == repaired.living
    assert report.sound == (await held(damaged) is not None)
