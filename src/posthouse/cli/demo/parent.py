"""The parent: starts the children, kills one of them and the broker process, keeps the ledger.

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
from posthouse.cli.demo.brokers import has_left, kill_broker
from posthouse.cli.demo.child import LINGER_S, Queues
from posthouse.cli.demo.crew import Crew
from posthouse.cli.demo.events import Cursor, Totals
from posthouse.cli.demo.ledger import Ledger
from posthouse.cli.demo.report import Display, verdict

HOLD_SHARE: Final = 0.75
CONSUMERS: Final = 2


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
            CommandError: a child ended in a way that it should not.
        """
        directory = tempfile.mkdtemp(prefix="posthouse-demo-")
        data = Path(directory, "data")
        url = f"shared:{data}"
        cancelled = threading.Event()
        direct = asyncio.create_task(asyncio.to_thread(count_directly, self._files, cancelled))
        good = False
        try:
            async with open_broker(url, linger_s=LINGER_S) as broker:
                await prepare(broker)
                with self._display:
                    await self._work(Crew(url, Path(directory), self._note), broker, data)
                    expected = await direct
                totals, left = await look(broker)
            judgement = self._ledger.judge(totals)
            lines, good = verdict(judgement, totals.counts, expected, self._files, left)
            for line in lines:
                self._display.say(line)
        finally:
            cancelled.set()
            if good or not self._ledger.put:
                await has_left(data)
                shutil.rmtree(directory, ignore_errors=True)
            else:
                self._display.say(f"the queues are kept in {data}")
        return good

    async def _work(self, crew: Crew, broker: Broker, data: Path) -> None:
        count = len(self._files)
        ledger = self._ledger
        async with crew:
            crew.start("collector", self._files)
            consumers = [crew.start("consumer", self._files) for _ in range(CONSUMERS)]
            # Not all files yet, so that there is work left when the kills are done.
            crew.start("producer", self._files, end=max(1, int(count * HOLD_SHARE)))
            self._display.say(
                f"a producer, {CONSUMERS} consumers and a collector, each a process; and the "
                "broker process that they started"
            )
            await crew.until(lambda: ledger.counted_so_far >= max(1, count // 4))
            consumers[0].kill()
            self._display.say(
                f"killed a consumer with SIGKILL after {ledger.counted_so_far:,} files; "
                "starting another"
            )
            consumers[0] = crew.start("consumer", self._files)
            await crew.until(lambda: ledger.counted_so_far >= max(1, count // 2))
            pid = kill_broker(data)
            self._display.say(
                f"killed the broker process {pid} with SIGKILL after "
                f"{ledger.counted_so_far:,} files; the others start the next one"
            )
            await self._look(broker)
            crew.start("producer", self._files)
            await crew.finished("collector", "producer")
            for consumer in consumers:
                consumer.stop()
            await crew.finished("collector", "producer", "consumer")

    async def _look(self, broker: Broker) -> None:
        """What was acknowledged before the broker process was killed must be there now."""
        said = self._ledger.acknowledged()
        queues = Queues(broker)
        position, totals = await queues.position(), await queues.sum()
        self._ledger.looked(said, position, totals.version)

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


async def prepare(broker: Broker) -> None:
    """Put the cursor and the empty totals on their queues."""
    async with broker.transaction() as tx:
        tx.put(broker.queue(events.CURSOR, Cursor), Cursor(0))
        tx.put(broker.queue(events.TOTALS, Totals), Totals())


async def look(broker: Broker) -> tuple[Totals, list[str]]:
    """The totals on disk, and what is on the queues that should not be."""
    totals = await broker.queue(events.TOTALS, Totals).peek(2)
    left = []
    for figures in await broker.stats():
        held = figures.waiting + figures.delayed + figures.in_flight
        if held > (figures.name in (events.CURSOR, events.TOTALS)):
            left.append(f"{held:,} on {figures.name}")
    if len(totals) != 1:
        left.append(f"{len(totals)} totals")
    return (totals[0].body if totals else Totals()), left
