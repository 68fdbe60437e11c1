"""``posthouse log``: what it prints, its exit codes, and that it needs no broker's help."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

import posthouse as library
from tests.cli.commands import COMMAND, environment, inside, on_a_terminal, posthouse

SEGMENT = Path("posthouse-data") / "00000001.seg"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A log with two queues: three messages on one, one of them taken, and one on the other."""
    put = inside("put", "orders", cwd=tmp_path, stdin='{"n":1}\n{"n":2}\n{"n":3}\n')
    assert put.code == 0
    assert inside("get", "orders", cwd=tmp_path).out == '{"n":1}\n'
    assert inside("put", "notes", "--text", "a\x1b[2Jb" + "c" * 100, cwd=tmp_path).code == 0
    return tmp_path


def break_it(place: Path) -> int:
    """Flip a bit of the first put's bodies; where its frame begins."""
    lines = inside("log", "dump", "posthouse-data", "--json", cwd=place).json
    offset = next(line["offset"] for line in lines if line["record"] == "put")
    data = bytearray((place / SEGMENT).read_bytes())
    at = data.index(b'{"n":2}')
    assert at > offset
    data[at + 5] ^= 1
    (place / SEGMENT).write_bytes(data)
    return int(offset)


def test_check_of_a_sound_log(place: Path) -> None:
    ran = inside("log", "check", "posthouse-data", cwd=place)
    assert ran.code == 0
    assert ran.out.startswith("posthouse-data: sound\n")
    assert "closed cleanly" in ran.out
    figures = inside("log", "check", "posthouse-data", "--json", cwd=place)
    assert figures.code == 0
    assert figures.json[0]["sound"] is True
    assert figures.json[0]["faults"] == []


def test_check_says_what_is_wrong_and_where(place: Path) -> None:
    offset = break_it(place)
    ran = inside("log", "check", "posthouse-data", cwd=place)
    assert ran.code == 1
    assert "damaged, 1 place" in ran.out
    assert f"00000001.seg: offset {offset} to " in ran.out
    assert "it means: " in ran.out
    assert "posthouse log repair" in ran.out
    assert ran.err == ""
    figures = inside("log", "check", "posthouse-data", "--json", cwd=place)
    assert figures.code == 1
    (fault,) = figures.json[0]["faults"]
    assert (fault["kind"], fault["file"], fault["offset"]) == ("frame", "00000001.seg", offset)


def test_check_of_a_live_log_reads_only(place: Path) -> None:
    async def live() -> None:
        async with library.open(str(place / "posthouse-data")) as broker:
            await broker.queue("orders").put(4)
            ran = posthouse("log", "check", "posthouse-data", cwd=place)
            assert (ran.code, ran.err) == (0, "")
            assert "a broker has it open, or crashed" in ran.out

    asyncio.run(live())


def test_a_bar_on_a_terminal_only(place: Path) -> None:
    shown = on_a_terminal("log", "check", "posthouse-data", cwd=place)
    assert shown.code == 0
    assert "━" in shown.out
    assert "1/1" in shown.out
    piped = posthouse("log", "check", "posthouse-data", cwd=place)
    assert "━" not in piped.out + piped.err


def test_dump_shows_every_record(place: Path) -> None:
    ran = inside("log", "dump", "posthouse-data", cwd=place)
    assert ran.code == 0
    for text in (
        "00000001.seg: groups from 1",
        "opened epoch 1",
        "declared orders is queue number 1, policy {}",
        "put orders 3 messages",
        '(json, 7 bytes) {"n":2}',
        "settled orders 1 message",
        "closed at",
    ):
        assert text in ran.out
    assert "c" * 56 + "..." not in ran.out
    assert "c" * 50 + "..." in ran.out
    assert "c" * 100 in inside("log", "dump", "posthouse-data", "--bodies", cwd=place).out


def test_dump_of_one_queue_and_of_one_segment(place: Path) -> None:
    ran = inside("log", "dump", "posthouse-data", "--queue", "notes", "--json", cwd=place)
    assert {line["queue"] for line in ran.json} == {"notes"}
    assert {"declared", "put"} <= {line["record"] for line in ran.json}
    whole = inside("log", "dump", "posthouse-data", "--bodies", "--json", cwd=place)
    put = next(line for line in whole.json if line["record"] == "put")
    assert [message["body"] for message in put["messages"]] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert inside("log", "dump", "posthouse-data", "--segment", "1", cwd=place).code == 0
    for arguments, text in (
        (("--segment", "7"), "00000007.seg"),
        (("--queue", "nowhere"), "notes, orders"),
    ):
        refused = inside("log", "dump", "posthouse-data", *arguments, cwd=place)
        assert (refused.code, refused.out) == (1, "")
        assert text in refused.err


def test_dump_goes_on_behind_damage(place: Path) -> None:
    break_it(place)
    ran = inside("log", "dump", "posthouse-data", cwd=place)
    assert ran.code == 0
    assert "damage: 00000001.seg: offset" in ran.out
    assert "settled" in ran.out.partition("damage:")[2]
    lines = inside("log", "dump", "posthouse-data", "--json", cwd=place).json
    assert [line["damage"] for line in lines if "damage" in line] == ["a frame is damaged"]


def test_a_body_cannot_control_the_terminal(place: Path) -> None:
    shown = on_a_terminal("log", "dump", "posthouse-data", cwd=place).out
    assert "a\\x1b[2Jb" in shown
    assert "\x1b" not in shown


def test_a_reader_that_leaves(place: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "log", "dump", "posthouse-data"],
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_repair(place: Path) -> None:
    break_it(place)
    assert inside("get", "orders", cwd=place).code == 1
    ran = inside("log", "repair", "posthouse-data", "mended", cwd=place)
    assert ran.code == 0
    assert "lost: 1 part" in ran.out
    assert "they are lost: " in ran.out
    report = (place / "mended" / "repair-report.txt").read_text()
    assert ran.out.startswith(report)
    assert inside("get", "notes", "--url", "mended", cwd=place).out.startswith("a\x1b[2Jb")
    assert inside("log", "check", "mended", cwd=place).code == 0
    again = inside("log", "repair", "posthouse-data", "mended", cwd=place)
    assert again.code == 1
    assert "not empty" in again.err
    record = inside("log", "repair", "posthouse-data", "other", "--json", cwd=place).json[0]
    assert len(record["losses"]) == 1
    assert len(record["losses"][0]["put"]) == 3


def test_backup_and_restore(place: Path) -> None:
    first = inside("log", "backup", "posthouse-data", "copy", cwd=place)
    assert (first.code, "copied now: 1" in first.out) == (0, True)
    assert inside("put", "orders", "4", cwd=place).code == 0
    record = inside("log", "backup", "posthouse-data", "copy", "--json", cwd=place).json[0]
    assert (record["segments"], record["copied"]) == (1, 1)
    assert (
        inside("log", "backup", "posthouse-data", "copy", "--json", cwd=place).json[0]["copied"]
        == 0
    )
    check = inside("log", "check", "copy", cwd=place)
    assert (check.code, "sound" in check.out) == (0, True)
    restored = inside("log", "restore", "copy", "new", cwd=place)
    assert (restored.code, "all of it sound" in restored.out) == (0, True)
    assert inside("get", "orders", "--all", "--url", "new", cwd=place).out == (
        '{"n":2}\n{"n":3}\n4\n'
    )
    part = next((place / "copy").glob("0*.part"))
    with part.open("r+b") as file:
        file.seek(300)
        file.write(b"\xff")
    damaged = inside("log", "check", "copy", cwd=place)
    assert damaged.code == 1
    assert part.name in damaged.out
    refused = inside("log", "restore", "copy", "newer", cwd=place)
    assert (refused.code, refused.out) == (1, "")
    assert part.name in refused.err


def test_restore_in_json(place: Path) -> None:
    inside("log", "backup", "posthouse-data", "copy", cwd=place)
    record = inside("log", "restore", "copy", "new", "--json", cwd=place).json[0]
    assert record["segments"] == 1
    assert record["taken_at"].endswith("Z")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("check", "nowhere"), "no such directory"),
        (("dump", "nowhere"), "no such directory"),
        (("repair", "nowhere", "x"), "no such directory"),
        (("backup", "nowhere", "x"), "no such directory"),
        (("restore", "nowhere", "x"), "no such directory"),
        (("check", "empty"), "not a posthouse log"),
        (("restore", "posthouse-data", "x"), "not a finished backup"),
        (("repair", "posthouse-data", "posthouse-data"), "the log itself"),
        (("backup", "posthouse-data", "posthouse-data/inner"), "inside"),
        (("repair", "posthouse-data", "a-file"), "is a file"),
    ],
)
def test_what_is_refused(place: Path, arguments: tuple[str, ...], text: str) -> None:
    (place / "empty").mkdir()
    (place / "a-file").write_text("x")
    before = sorted(os.listdir(place)), sorted(os.listdir(place / "posthouse-data"))
    ran = inside("log", *arguments, cwd=place)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("posthouse: ")
    assert text in ran.err
    assert ran.err.count("\n") == 1
    assert (sorted(os.listdir(place)), sorted(os.listdir(place / "posthouse-data"))) == before


def test_help_without_a_verb(tmp_path: Path) -> None:
    ran = inside("log", cwd=tmp_path)
    assert ran.code == 0
    assert all(verb in ran.out for verb in ("check", "dump", "repair", "backup", "restore"))
    assert inside("log", "chek", cwd=tmp_path).code == 2
    assert ran.err == ""
