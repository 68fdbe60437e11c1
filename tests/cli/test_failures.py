"""Whatever goes wrong is one clear line on standard error and a non-zero exit."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

import posthouse as library
from posthouse.cli.failures import describe, guarded
from tests.cli.commands import COMMAND, Ran, environment, inside, posthouse


def one_line(ran: Ran, code: int = 1) -> str:
    """The line, checked to be the only one and to be no traceback."""
    assert ran.code == code, ran
    assert ran.err.startswith("posthouse: ")
    assert ran.err.count("\n") == 1
    assert "Traceback" not in ran.err
    return ran.err


@pytest.mark.parametrize(
    "arguments",
    [("get", "orders"), ("peek", "orders"), ("stats",), ("queues",), ("purge", "orders", "-y")],
)
def test_reading_creates_nothing(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert "there is no posthouse-data" in one_line(inside(*arguments, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "posthouse-data").mkdir()
    assert "empty" in one_line(inside(*arguments, cwd=tmp_path))
    assert list((tmp_path / "posthouse-data").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("put",), "QUEUE"),
        (("put", "orders", "--delay", "soon"), "delay"),
        (("get", "orders", "-n", "0"), "'-n'"),
        (("bet", "orders"), "bet"),
        (("get", "orders", "--ack"), "--ack"),
    ],
)
def test_a_wrong_call_exits_with_2(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    line = one_line(inside(*arguments, cwd=tmp_path), 2)
    assert text in line
    assert "--help" in line


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("put", "../orders", "1"), "cannot name a queue"),
        (("put", "orders", "1", "--delay", "-1"), "delay"),
        (("put", "orders", "1", "--delay", "nan"), "delay"),
        (("put", "orders", "tea"), "--text"),
        (("put", "orders", "1", "--url", "gopher:x"), "gopher"),
        (("put", "orders", "1", "--url", "memory:"), "memory:"),
        (("stats", "--url", "memory:"), "memory:"),
        (("put", "orders", "1", "--url", "a-file"), "a-file"),
        (("stats", "--url", "a-file"), "a-file"),
        (("stats", "--url", "a-folder"), "a-folder"),
        (("get", "orders", "--all", "-n", "1"), "--all"),
    ],
)
def test_what_cannot_be_done_exits_with_1(
    tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    (tmp_path / "a-file").write_text("not a directory")
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "a-folder" / "somebody.else").write_text("not ours")
    assert text in one_line(inside(*arguments, cwd=tmp_path))
    assert (tmp_path / "a-file").read_text() == "not a directory"


def test_a_bad_line_stops_after_the_good_ones(tmp_path: Path) -> None:
    ran = inside("put", "orders", cwd=tmp_path, stdin='1\n2\n{"open\n4\n')
    line = one_line(ran)
    assert "message 3 is not JSON" in line
    assert "2 messages put" in line
    assert ran.out == ""
    assert inside("get", "orders", "--all", cwd=tmp_path).out == "1\n2\n"


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    line = one_line(inside("put", "orders", "--text", cwd=tmp_path, stdin=b"\xff\n"))
    assert "message 1 is not UTF-8" in line


async def test_a_directory_that_is_open_elsewhere(tmp_path: Path) -> None:
    async with library.open(str(tmp_path / "posthouse-data")) as broker:
        await broker.queue("orders").put(1)
        assert "already open" in one_line(posthouse("get", "orders", cwd=tmp_path))


def test_a_reader_that_leaves_loses_nothing(tmp_path: Path) -> None:
    posthouse("put", "orders", cwd=tmp_path, stdin="1\n" * 20_000)
    with subprocess.Popen(
        [*COMMAND, "get", "orders", "--all"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"1\n"
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 1
    assert err == b""
    left = posthouse("stats", "--json", cwd=tmp_path).json[0][0]
    assert left["waiting"] > 0


def test_what_nobody_could_read_is_not_acknowledged(tmp_path: Path) -> None:
    inside("put", "orders", "1", cwd=tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "get", "orders"],
        cwd=tmp_path,
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
    again = inside("get", "orders", "--json", cwd=tmp_path)
    assert [line["attempts"] for line in again.json] == [1]


def test_ctrl_c_while_following(tmp_path: Path) -> None:
    posthouse("put", "orders", "1", cwd=tmp_path)
    with subprocess.Popen(
        [*COMMAND, "get", "orders", "--follow"],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"posthouse: interrupted\n"
    assert posthouse("stats", "--json", cwd=tmp_path).json[0][0]["waiting"] == 0


def test_ctrl_c_while_reading_standard_input(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "put", "orders", "--json"],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"1\n")
        process.stdin.flush()
        assert b'"id"' in process.stdout.readline(), "a slow source is not held back"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == b"posthouse: interrupted\n"
    assert posthouse("get", "orders", cwd=tmp_path).out == "1\n"


def test_an_unexpected_error_is_one_line_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise ZeroDivisionError("by\nzero")

    monkeypatch.delenv("POSTHOUSE_DEBUG", raising=False)
    assert guarded(fails) == 1
    assert capsys.readouterr().err == (
        "posthouse: unexpected ZeroDivisionError: by zero (set POSTHOUSE_DEBUG=1 for a traceback)\n"
    )
    monkeypatch.setenv("POSTHOUSE_DEBUG", "1")
    assert guarded(fails) == 1
    assert "Traceback" in capsys.readouterr().err


def test_errors_are_described_by_what_was_wrong() -> None:
    assert describe(FileNotFoundError(2, "No such file", "a.py")) == "a.py: No such file"
    group = ExceptionGroup("tasks", [library.StorageFailed("the disk is gone")])
    assert describe(group) == "the disk is gone"
