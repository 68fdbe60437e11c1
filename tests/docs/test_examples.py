"""Every Python block of the README and the docs runs as it stands.

A block is run in a fresh directory by a fresh interpreter. A mark on the line before it says
otherwise: ``<!-- compiled only: why -->`` leaves it at compiling; ``<!-- stopped: SIGTERM -->``
ends it by that signal once its log is there, and expects a clean exit;
``<!-- fragment: of what -->`` runs it as the body of a coroutine with the names that `FRAME` has.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>compiled only|stopped|fragment): (?P<what>[^>]*) -->\n+)?"
    r"^```python\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)


FRAME = """
import asyncio
import msgspec
import posthouse


class Order(msgspec.Struct):
    sku: str
    quantity: int


async def main() -> None:
    async with posthouse.open("memory:") as broker:
        worker = posthouse.Worker(broker)
        orders, invoices, results = map(broker.queue, ("orders", "invoices", "results"))
        await orders.put({"sku": "tea", "quantity": 2})
        message = await orders.get()
        try:
%s
        finally:
            del worker, invoices, results, message


asyncio.run(main())
"""


class Example(NamedTuple):
    """One block of a page."""

    page: str
    line: int
    mark: str | None
    code: str


def examples() -> list[Example]:
    """All blocks of all pages that users read."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code")) + 1
            name = page.relative_to(ROOT).as_posix()
            found.append(Example(name, line, match["mark"], match["code"]))
    return found


@pytest.mark.parametrize("example", examples(), ids=lambda e: f"{e.page}:{e.line}")
def test_example(example: Example, tmp_path: Path) -> None:
    code = example.code
    if example.mark == "fragment":
        code = FRAME % textwrap.indent(code, " " * 12)
    compile(code, f"{example.page}:{example.line}", "exec")
    if example.mark == "compiled only":
        return
    script = tmp_path / "example.py"
    script.write_text(code, encoding="utf-8")
    command = [sys.executable, "-X", "dev", "-W", "error", script.name]
    if example.mark == "stopped":
        _run_and_stop(command, tmp_path)
        return
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def _run_and_stop(command: list[str], where: Path) -> None:
    with subprocess.Popen(command, cwd=where, stderr=subprocess.PIPE, text=True) as process:
        try:
            # The log appears when the program is up; the signal may then come at any moment.
            while not (where / "data" / "FORMAT").exists():
                assert process.poll() is None, process.communicate()[1]
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors


def test_the_readme_opens_with_an_example_of_fifteen_lines() -> None:
    first = next(e for e in examples() if e.page == "README.md")
    assert len(first.code.strip().splitlines()) <= 15
