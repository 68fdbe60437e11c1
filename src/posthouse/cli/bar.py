"""Bars over the segments of a log, on standard error when that is a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PATIENCE_S: Final = 0.5


@contextlib.contextmanager
def segments_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for a command that reads a log; it stays on the screen."""
    bar = _progress(what, Console(stderr=True))
    task = bar.add_task(what, total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def opening_bar(
    console: Console | None = None, patience_s: float = PATIENCE_S
) -> Iterator[Callable[[int, int], None]]:
    """A bar for an opening that takes longer than ``patience_s``; it goes when that is done."""
    bar = _progress("open", console or Console(stderr=True), transient=True)
    task = bar.add_task("open", total=None)
    began_s = monotonic()

    def progress(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if monotonic() - began_s >= patience_s:
            bar.start()

    try:
        yield progress
    finally:
        bar.stop()


def _progress(what: str, console: Console, *, transient: bool = False) -> Progress:
    return Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("segments"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=transient,
    )
