"""``top`` and ``stats`` of a server, as a terminal of some size shows them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import posthouse
from posthouse.testing.serving import ServedBroker, serve
from tests.server.screen import Terminal

QUEUES = 50
LONG = "a-name-that-is-longer-than-its-column-" + "x" * 100
SIZES = pytest.mark.parametrize(("columns", "lines"), [(80, 24), (120, 40)])


@pytest.fixture(scope="module")
def served() -> Iterator[ServedBroker]:
    async def fill(url: str) -> None:
        async with posthouse.open(url) as broker:
            for number in range(QUEUES):
                await broker.queue(f"queue-{number}").put_many([0] * (number + 1))
            await broker.queue("orders").put_many([0] * 12_345)
            await broker.queue(LONG).put_many([0] * 2_000)

    with serve() as found:
        asyncio.run(fill(found.url))
        yield found


@SIZES
def test_top_fits_the_screen(served: ServedBroker, columns: int, lines: int) -> None:
    with Terminal(
        *("top", "--every", "0.2", "--url", served.url), columns=columns, lines=lines
    ) as terminal:
        shown = terminal.until(lambda each: any("more that are quieter" in line for line in each))
        assert served.url in shown[0]
        assert "52 queues" in shown[0]
        names = " ".join(shown[2].split())
        assert names == "queue waiting delayed in flight size oldest put/s acked/s"
        assert shown[4].split()[:2] == ["orders", "12,345"]
        assert shown[5].startswith(" a-name-that-is")
        assert "… " in shown[5]
        assert shown[5].split()[1] == "2,000"
        queues = [line.split()[0] for line in shown if line.startswith(" queue-")]
        assert queues == [f"queue-{QUEUES - 1 - n}" for n in range(len(queues))]
        assert len(queues) == lines - 8, "every line is used"
        [more] = [line for line in shown if "more" in line]
        assert more.split()[0] == str(QUEUES - len(queues))
        assert terminal.interrupt() == 0, terminal.said
        assert "\x1b[?1049l" in terminal.said, "the screen from before is back"
        assert "\x1b[?25h" in terminal.said, "and the cursor"
        assert "Traceback" not in terminal.said


def test_top_is_live(served: ServedBroker) -> None:
    """What moves comes first, with its rates."""

    async def move() -> None:
        async with posthouse.open(served.url) as broker:
            quiet = broker.queue("queue-0")
            await quiet.put_many([0] * 500)
            await quiet.ack_many(await quiet.get_many(500))

    with Terminal("top", "--every", "0.2", "--url", served.url, columns=80, lines=24) as terminal:
        terminal.until(lambda each: each[4].startswith(" orders"))
        asyncio.run(move())
        shown = terminal.until(lambda each: each[4].startswith(" queue-0 "))
        assert int(shown[4].split()[-2].replace(",", "")) > 0
        terminal.until(lambda each: each[4].startswith(" orders"))
        assert terminal.interrupt() == 0, terminal.said


def test_top_says_that_the_server_is_away() -> None:
    with (
        serve() as served,
        Terminal("top", "--every", "0.2", "--url", served.url, columns=80, lines=24) as top,
    ):
        top.until(lambda each: "0 queues" in each[0])
        served.stop()
        top.until(lambda each: "no answer for" in each[0])
        served.start()
        top.until(lambda each: "0 queues" in each[0])
        assert top.interrupt() == 0, top.said
        assert "Traceback" not in top.said


@SIZES
def test_stats_fit_the_screen(served: ServedBroker, columns: int, lines: int) -> None:
    with Terminal("stats", "--url", served.url, columns=columns, lines=lines) as terminal:
        assert terminal.end() == 0, terminal.said
        rows = [line for line in terminal.said.splitlines() if "queue-" in line]
        assert len(rows) == QUEUES, "a line for each"
        assert {len(row) for row in rows} == {columns}
        assert "12,345" in terminal.said
