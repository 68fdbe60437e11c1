"""``posthouse top``: what the queues hold and how fast it moves, live."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from posthouse.broker import DEFAULT_URL, Broker
from posthouse.cli.access import reading
from posthouse.cli.options import UrlOption
from posthouse.cli.output import human_size, human_time
from posthouse.model import QueueStats

_COLUMNS: Final = ("queue", "waiting", "delayed", "in flight", "size", "oldest", "put/s", "acked/s")
_MOST_ROWS: Final = 200
_ANSWER_S: Final = 2.0
_FRAME_LINES: Final = 5
"""Title, blank, names, rule; and a blank at the end."""


def top(
    every_s: Annotated[
        float, typer.Option("--every", min=0.1, help="Seconds between two looks.")
    ] = 1.0,
    count: Annotated[
        int | None, typer.Option("--count", min=1, help="Looks, then leave; default: until Ctrl-C.")
    ] = None,
    url: UrlOption = DEFAULT_URL,
) -> None:
    """Show a live broker's queues, the busiest first. Leave with Ctrl-C."""
    try:
        asyncio.run(_top(url, every_s, count))
    except KeyboardInterrupt:
        return


async def _top(url: str, every_s: float, count: int | None) -> None:
    console = Console()
    async with reading(url) as broker:
        looks = Looks()
        with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            table, heard_s = Table(), time.monotonic()
            while True:
                height = console.height if console.is_terminal else None
                try:
                    async with asyncio.timeout(_ANSWER_S):
                        table = await _look(broker, looks, height)
                    heard_s = time.monotonic()
                except TimeoutError:
                    silent_s = time.monotonic() - heard_s
                    table.title = f"{broker.url}: no answer for {silent_s:.0f} s; as it was then"
                live.update(table, refresh=True)
                if count is not None:
                    count -= 1
                    if not count:
                        break
                await asyncio.sleep(every_s)
        if not console.is_terminal:
            console.line()  # a live view ends without one


class Looks:
    """Two looks at the figures, and what moved between them."""

    def __init__(self) -> None:
        self._before: dict[str, QueueStats] = {}
        self._at_s = 0.0

    def rates(self, figures: list[QueueStats], now_s: float) -> list[tuple[float, float]]:
        """For each queue what was put and acked, a second, since the last look."""
        lasted_s = max(now_s - self._at_s, 1e-6) if self._before else 0.0
        found = []
        for each in figures:
            before = self._before.get(each.name)
            if before is None or not lasted_s:
                found.append((0.0, 0.0))
                continue
            # A server that was restarted begins to count anew.
            put, acked = max(each.put - before.put, 0), max(each.acked - before.acked, 0)
            found.append((put / lasted_s, acked / lasted_s))
        self._before = {each.name: each for each in figures}
        self._at_s = now_s
        return found


async def _look(broker: Broker, looks: Looks, height: int | None) -> Table:
    """A look, in so many lines (None: any number)."""
    figures = await broker.stats()
    rows = list(zip(figures, looks.rates(figures, time.monotonic()), strict=True))
    rows.sort(key=lambda row: (-sum(row[1]), -row[0].waiting, row[0].name))
    table = Table(
        title=f"{broker.url}: {len(figures):,} queue{'s' * (len(figures) != 1)}",
        box=SIMPLE_HEAD,
        expand=True,
        collapse_padding=True,
        pad_edge=False,
    )
    for name in _COLUMNS:
        # The figures stay whole; a long name is cut, so that each queue has one line.
        figure = name != "queue"
        table.add_column(
            name,
            justify="right" if figure else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=None if figure else 1,
        )
    most = len(rows)
    if height is not None and most > height - _FRAME_LINES:
        most = max(height - _FRAME_LINES - 1, 1)
        table.caption = f"{len(rows) - most:,} more that are quieter"
    for each, (put, acked) in rows[: min(most, _MOST_ROWS)]:
        table.add_row(
            each.name,
            f"{each.waiting:,}",
            f"{each.delayed:,}",
            f"{each.in_flight:,}",
            human_size(each.size_bytes),
            human_time(each.oldest_age_s) if each.waiting else "",
            f"{put:,.0f}",
            f"{acked:,.0f}",
        )
    return table
