"""The parent: runs the child through two lives with a kill between them, and keeps the ledger.

At the end it compares what is on disk with what it counted itself.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from posthouse.broker import Broker
from posthouse.broker import open as open_broker
from posthouse.cli.demo import events
from posthouse.cli.demo.analysis import Counts, count_read, read_source
from posthouse.cli.demo.events import Cursor, Job, Totals
from posthouse.cli.demo.ledger import Ledger
from posthouse.cli.demo.process import Child, write_job
from posthouse.cli.demo.report import Display, verdict
from posthouse.cli.failures import CommandError

HOLD_SHARE: Final = 0.75


class Demo:
    """One run.

    Args:
        files: what to count.
    """

    def __init__(self, files: list[str]) -> None:
        self._files = files
        self._ledger = Ledger(len(files))
        self._display = Display(len(files))

    async def run(self) -> bool:
        """Do it all and print it; True when everything is as it must be.

        Raises:
            CommandError: the child ended in a way that it should not.
        """
        directory = tempfile.mkdtemp(prefix="posthouse-demo-")
        url = f"{directory}/data"
        cancelled = threading.Event()
        direct = asyncio.create_task(asyncio.to_thread(count_directly, self._files, cancelled))
        good = False
        try:
            await prepare(url)
            with self._display:
                await self._two_lives(url, Path(directory, "job.json"))
                expected = await direct
            totals, left = await look(url)
            judgement = self._ledger.judge(totals)
            lines, good = verdict(judgement, totals.counts, expected, self._files, left)
            for line in lines:
                self._display.say(line)
        finally:
            cancelled.set()
            if good or not self._ledger.put:
                shutil.rmtree(directory, ignore_errors=True)
            else:
                self._display.say(f"the queues are kept in {url}")
        return good

    async def _two_lives(self, url: str, job_path: Path) -> None:
        count = len(self._files)
        first = Job(url, self._files, hold_at=max(1, int(count * HOLD_SHARE)))
        second = Job(url, self._files)
        write_job(job_path, first)
        kill_at = max(1, count // 2)
        async with Child(job_path) as child:
            async for event in child.events():
                self._note(event)
                if len(self._ledger.done) >= kill_at:
                    child.kill()
                    break
            else:
                raise CommandError(await child.why_it_ended())
            # What it reported before it died is still in the pipe.
            async for event in child.events():
                self._note(event)
        self._display.say(
            f"killed with SIGKILL after {len(self._ledger.done):,} files; starting it again"
        )
        write_job(job_path, second)
        finished = False
        async with Child(job_path) as child:
            async for event in child.events():
                self._note(event)
                finished = finished or isinstance(event, events.Finished)
            code = await child.wait()
        if not finished or code != 0:
            raise CommandError(await child.why_it_ended())

    def _note(self, event: events.AnyEvent) -> None:
        self._ledger.record(event)
        self._display.counted(self._ledger.counted_so_far)


def count_directly(files: Iterable[str], cancelled: threading.Event) -> Counts:
    """The same counts without any queue, one file after the other."""
    total = Counts()
    for path in files:
        if cancelled.is_set():
            break
        total += count_read(read_source(path))
    return total


async def prepare(url: str) -> None:
    """Put the cursor and the empty totals on their queues."""
    async with open_broker(url) as broker, broker.transaction() as tx:
        tx.put(broker.queue(events.CURSOR, Cursor), Cursor(0))
        tx.put(broker.queue(events.TOTALS, Totals), Totals())


async def look(url: str) -> tuple[Totals, list[str]]:
    """The totals on disk, and what is on the queues that should not be."""
    async with open_broker(url) as broker:
        totals = await broker.queue(events.TOTALS, Totals).peek(2)
        left = await _left(broker)
    if len(totals) != 1:
        left.append(f"{len(totals)} totals")
    return (totals[0].body if totals else Totals()), left


async def _left(broker: Broker) -> list[str]:
    left = []
    for figures in await broker.stats():
        held = figures.waiting + figures.delayed + figures.in_flight
        if held > (figures.name in (events.CURSOR, events.TOTALS)):
            left.append(f"{held:,} on {figures.name}")
    return left
