"""What a person at a terminal sees: bars, colours, a question; and nothing of it in a pipe."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cli.commands import on_a_terminal, posthouse


def test_put_draws_a_bar_on_a_terminal_only(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("1\n" * 5_000)
    with lines.open("rb") as stdin:
        shown = on_a_terminal("put", "orders", cwd=tmp_path, stdin=stdin)
    assert shown.code == 0
    assert "━" in shown.out
    assert "5,000 messages" in shown.out
    piped = posthouse("put", "orders", cwd=tmp_path, stdin="1\n")
    assert "━" not in piped.out + piped.err
    assert "\x1b" not in piped.out + piped.err


def test_put_reads_what_is_typed(tmp_path: Path) -> None:
    shown = on_a_terminal("put", "orders", cwd=tmp_path, typed=b"1\n[2]\n\x04")
    assert shown.code == 0
    assert "Ctrl-D" in shown.out
    assert "2 messages put on orders" in shown.out


def test_purge_asks_and_believes_a_no(tmp_path: Path) -> None:
    posthouse("put", "orders", "1", "2", cwd=tmp_path)
    refused = on_a_terminal("purge", "orders", cwd=tmp_path, typed=b"n\n")
    assert refused.code == 1
    assert "Delete 2 messages from orders?" in refused.out
    assert "nothing was deleted" in refused.out
    interrupted = on_a_terminal("purge", "orders", cwd=tmp_path, typed=b"\x03")
    assert interrupted.code != 0
    assert "Traceback" not in interrupted.out
    assert len(posthouse("peek", "orders", "-n", "9", cwd=tmp_path).out.splitlines()) == 2
    assert on_a_terminal("purge", "orders", cwd=tmp_path, typed=b"y\n").code == 0
    assert posthouse("peek", "orders", cwd=tmp_path).code == 1


def test_stats_are_a_table_on_a_terminal(tmp_path: Path) -> None:
    posthouse("put", "orders", "1", cwd=tmp_path)
    shown = on_a_terminal("stats", cwd=tmp_path).out
    assert "┃" in shown
    assert "orders" in shown


def test_a_message_cannot_control_the_terminal(tmp_path: Path) -> None:
    posthouse("put", "notes", "--text", "a\x1b[2Jb\tc茶", cwd=tmp_path)
    shown = on_a_terminal("peek", "notes", cwd=tmp_path).out
    assert "a\\x1b[2Jb" in shown
    assert "\x1b" not in shown
    assert "茶" in shown
    assert posthouse("peek", "notes", cwd=tmp_path).out == "a\x1b[2Jb\tc茶\n"


def test_the_demo_draws_a_bar_on_a_terminal_only(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"m{number}.py").write_text("import os\n")
    shown = on_a_terminal("demo", "--files", "*.py", cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert shown.code == 0, shown.out
    assert "━" in shown.out
    assert "8/8" in shown.out
