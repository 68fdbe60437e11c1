"""What the demo shows: progress on the way, and the verdict at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from posthouse.cli.demo.analysis import Counts
from posthouse.cli.demo.ledger import Judgement

_PLAIN_STEPS: Final = 10
_NAMES_SHOWN: Final = 5


class Display:
    """Progress: a bar on a terminal, a line for every tenth elsewhere.

    Args:
        total: how many files there are.
    """

    def __init__(self, total: int) -> None:
        self._console = Console(highlight=False, soft_wrap=True)
        self._total = total
        self._step = 0
        self._bar = Progress(
            TextColumn("counted"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("counted", total=total)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line of its own, above the bar where there is one."""
        self._console.print(text, markup=False)

    def counted(self, count: int) -> None:
        """So many files are counted by now."""
        self._bar.update(self._task, completed=count)
        if self._console.is_terminal or not self._total:
            return
        step = count * _PLAIN_STEPS // self._total
        if step > self._step:
            self._step = step
            self.say(f"  {100 * step // _PLAIN_STEPS:3d} %  {count:,} of {self._total:,} counted")


def verdict(
    judgement: Judgement, found: Counts, expected: Counts, files: Sequence[str], left: Sequence[str]
) -> tuple[list[str], bool]:
    """The closing lines, and whether all is as it must be.

    ``left`` says what was still on the queues at the end, and should not be.
    """
    lines = ["", f"{'':16}{'by queue':>12}{'directly':>12}"]
    for name in Counts.__struct_fields__:
        by_queue, directly = getattr(found, name), getattr(expected, name)
        mark = "" if by_queue == directly else "   differs"
        title = name.replace("_", " ") if name != "failed" else "do not parse"
        lines.append(f"{title:16}{by_queue:>12,}{directly:>12,}{mark}")
    lines += [
        "",
        f"put             {judgement.put:>12,}",
        f"redelivered     {judgement.redelivered:>12,}",
        f"lost            {len(judgement.lost):>12,}{_named(judgement.lost, files)}",
        f"counted twice   {len(judgement.twice):>12,}{_named(judgement.twice, files)}",
        "",
    ]
    faults = [
        text
        for bad, text in (
            (judgement.unput, f"{judgement.unput:,} files were never put"),
            (judgement.lost, f"{len(judgement.lost):,} files were lost"),
            (judgement.twice, f"{len(judgement.twice):,} files were counted twice"),
            (judgement.undone, f"{len(judgement.undone):,} finished files were not counted"),
            (judgement.rolled_back, "something acknowledged was not there after the restart"),
            (not judgement.totals_agree, "the totals on disk are not those of the ledger"),
            (left, f"messages were left over: {', '.join(left)}"),
            (found != expected, "the totals differ (did files change while the demo ran?)"),
        )
        if bad
    ]
    lines += [f"WRONG: {fault}" for fault in faults] or ["All as it must be."]
    return lines, not faults


def _named(indexes: Sequence[int], files: Sequence[str]) -> str:
    if not indexes:
        return ""
    more = ", ..." if len(indexes) > _NAMES_SHOWN else ""
    return "   " + ", ".join(files[index] for index in indexes[:_NAMES_SHOWN]) + more
