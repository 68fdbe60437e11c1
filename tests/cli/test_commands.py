"""put, get, peek, stats, queues and purge, as processes over a directory."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

import posthouse as library
from tests.cli.commands import inside, posthouse


def test_what_is_put_is_got_in_order_and_once(tmp_path: Path) -> None:
    put = inside("put", "orders", '{"sku": "tea"}', "[1, 2]", cwd=tmp_path)
    assert (put.code, put.out, put.err) == (0, "2 messages put on orders\n", "")
    assert (tmp_path / "posthouse-data").is_dir()
    assert inside("get", "orders", cwd=tmp_path).out == '{"sku": "tea"}\n'
    assert inside("get", "orders", "-n", "5", cwd=tmp_path).out == "[1, 2]\n"
    empty = inside("get", "orders", cwd=tmp_path)
    assert (empty.code, empty.out) == (1, "")
    assert empty.err == "posthouse: no message is waiting on orders\n"


def test_lines_of_standard_input_are_messages(tmp_path: Path) -> None:
    lines = "".join(f'{{"n": {n}}}\n' for n in range(2_500)) + "\n  \n" + "12345678901234567890.50"
    put = inside("put", "orders", cwd=tmp_path, stdin=lines)
    assert (put.code, put.out) == (0, "2,501 messages put on orders\n")
    got = inside("get", "orders", "--all", cwd=tmp_path)
    assert got.out.splitlines() == [*lines.split("\n")[:2_500], "12345678901234567890.50"]


def test_text_is_put_as_it_is(tmp_path: Path) -> None:
    assert inside("put", "notes", "--text", cwd=tmp_path, stdin="茶\r\n\n{not json").code == 0
    assert inside("get", "notes", "--all", cwd=tmp_path).out == "茶\n\n{not json\n"


def test_a_put_is_in_no_hurry_with_an_empty_input(tmp_path: Path) -> None:
    assert inside("put", "orders", cwd=tmp_path).out == "0 messages put on orders\n"


def test_json_says_everything_about_a_message(tmp_path: Path) -> None:
    put = inside("put", "orders", "--json", '"tea"', "2.50", cwd=tmp_path)
    ids = [line["id"] for line in put.json]
    peeked = inside("peek", "orders", "-n", "2", "--json", cwd=tmp_path)
    got = inside("get", "orders", "-n", "2", "--json", cwd=tmp_path)
    for ran, attempts in ((peeked, 0), (got, 1)):
        assert [line["id"] for line in ran.json] == ids
        assert [line["body"] for line in ran.json] == ["tea", 2.5]
        for line in ran.json:
            assert line["attempts"] == attempts
            assert (line["queue"], line["headers"]) == ("orders", {})
            assert line["enqueued_at"].startswith("20")
    assert '"body":2.50' in got.out


async def test_bytes_are_raw_or_base64(tmp_path: Path) -> None:
    async with library.open(str(tmp_path / "posthouse-data")) as broker:
        await broker.queue("blobs").put(b"\x00\xff", headers={"kind": "blob"})
    shown = posthouse("peek", "blobs", "--json", cwd=tmp_path).json[0]
    assert base64.b64decode(shown["body_base64"]) == b"\x00\xff"
    assert shown["headers"] == {"kind": "blob"}
    assert posthouse("get", "blobs", cwd=tmp_path).out == "\x00�\n"


def test_a_delayed_message_waits(tmp_path: Path) -> None:
    assert inside("put", "orders", "1", "--delay", "3600", cwd=tmp_path).code == 0
    assert "no message is waiting" in inside("get", "orders", cwd=tmp_path).err
    figures = inside("stats", "--json", cwd=tmp_path).json[0][0]
    assert (figures["name"], figures["waiting"], figures["delayed"]) == ("orders", 0, 1)


def test_stats_and_queues(tmp_path: Path) -> None:
    inside("put", "orders", "1", "2", cwd=tmp_path)
    inside("put", "notes", "1", cwd=tmp_path)
    assert inside("queues", cwd=tmp_path).out == "notes\norders\n"
    assert inside("queues", "--json", cwd=tmp_path).json == [["notes", "orders"]]
    head, *rows = inside("stats", cwd=tmp_path).out.splitlines()
    assert head.split() == ["queue", "waiting", "delayed", "in", "flight", "size", "oldest"]
    assert [row.split()[:4] for row in rows] == [
        ["notes", "1", "0", "0"],
        ["orders", "2", "0", "0"],
    ]
    only = inside("stats", "orders", "--json", cwd=tmp_path).json[0]
    assert [figures["name"] for figures in only] == ["orders"]


def test_purge_asks_first(tmp_path: Path) -> None:
    inside("put", "orders", "1", "2", cwd=tmp_path)
    refused = inside("purge", "orders", cwd=tmp_path)
    assert (refused.code, refused.out) == (1, "")
    assert "--yes" in refused.err
    assert len(inside("peek", "orders", "-n", "9", cwd=tmp_path).out.splitlines()) == 2
    assert inside("purge", "orders", "--yes", cwd=tmp_path).out == "2 purged from orders\n"
    assert inside("purge", "orders", "-y", "--json", cwd=tmp_path).json == [
        {"queue": "orders", "purged": 0}
    ]


def test_the_url_comes_from_the_option_or_the_environment(tmp_path: Path) -> None:
    posthouse("put", "orders", "1", "--url", "log:./a", cwd=tmp_path)
    posthouse("put", "orders", "2", cwd=tmp_path, env={"POSTHOUSE_URL": "./b"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert posthouse("get", "orders", "--url", "./a", cwd=tmp_path).out == "1\n"
    assert posthouse("get", "orders", cwd=tmp_path, env={"POSTHOUSE_URL": "b"}).out == "2\n"


def test_help_and_version(tmp_path: Path) -> None:
    for arguments in ((), ("--help",)):
        ran = posthouse(*arguments, cwd=tmp_path)
        assert ran.code == 0
        for verb in ("demo", "put", "get", "peek", "stats", "queues", "purge"):
            assert verb in ran.out
        assert "\x1b" not in ran.out
    assert posthouse("--version", cwd=tmp_path).out == library.__version__ + "\n"


@pytest.mark.parametrize("verb", ["get", "peek", "purge"])
def test_a_queue_that_is_not_there_is_said_so(tmp_path: Path, verb: str) -> None:
    inside("put", "orders", "1", cwd=tmp_path)
    ran = inside(verb, "oders", cwd=tmp_path)
    assert ran.code == 1
    assert ran.err == "posthouse: there is no queue 'oders'; there are: orders\n"
    assert inside("queues", cwd=tmp_path).out == "orders\n"


def test_a_database_that_is_only_read_is_never_made(tmp_path: Path) -> None:
    ran = posthouse("stats", "--url", "sqlite:///none.db", cwd=tmp_path)
    assert ran.code == 1
    assert ran.err == "posthouse: there is no sqlite:///none.db; nothing was ever put there\n"
    assert not any(tmp_path.iterdir())
