"""``posthouse find``: looking, acting, and what it says of a bad filter."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import inside, on_a_terminal

LINES = "".join(f'{{"n":{n},"c":"{c}"}}\n' for n, c in enumerate("abab"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    assert inside("put", "orders", cwd=tmp_path, stdin=LINES).code == 0
    return tmp_path


def test_find_prints_and_leaves(place: Path) -> None:
    found = inside("find", "orders", "body.c == 'a'", cwd=place)
    assert (found.code, found.out) == (0, '{"n":0,"c":"a"}\n{"n":2,"c":"a"}\n')
    newest = inside("find", "orders", "True", "-n", "1", "--order=-id", "--json", cwd=place)
    assert [line["body"]["n"] for line in newest.json] == [3]
    assert inside("find", "orders", "body.n > 9", cwd=place).out == ""
    assert len(inside("get", "orders", "--all", cwd=place).out.splitlines()) == 4


def test_a_bad_filter_is_shown_with_a_caret(place: Path) -> None:
    bad = inside("find", "orders", "body.c == a", "--delete", "--yes", cwd=place)
    assert (bad.code, bad.out) == (2, "")
    assert bad.err.splitlines()[1:] == ["  body.c == a", "            ^"]


def test_acting_asks_first(place: Path) -> None:
    refused = inside("find", "orders", "True", "--delete", cwd=place)
    assert (refused.code, refused.out) == (1, "")
    assert "--yes" in refused.err
    no = on_a_terminal("find", "orders", "body.c == 'a'", "--delete", cwd=place, typed=b"n\n")
    assert (no.code, "Delete 2 messages of orders?" in no.out) == (1, True)
    yes = on_a_terminal("find", "orders", "body.c == 'a'", "--delete", cwd=place, typed=b"y\n")
    assert (yes.code, "2 deleted from orders" in yes.out) == (0, True)
    assert inside("find", "orders", "True", cwd=place).out.count("\n") == 2


def test_acting_on_what_is_found(place: Path) -> None:
    moved = inside("find", "orders", "body.n == 0", "--move", "later", "--yes", cwd=place)
    assert (moved.code, moved.out) == (0, "1 moved from orders\n")
    assert inside("find", "later", "True", cwd=place).out == '{"n":0,"c":"a"}\n'
    delayed = inside("find", "orders", "True", "--delay", "3600", "-y", "--json", cwd=place)
    assert delayed.json == [{"queue": "orders", "delay": 3}]
    assert inside("find", "orders", "True", "--redrive", "-y", cwd=place).out.startswith("0 ")
    assert inside("find", "orders", "True", cwd=place).out.count("\n") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere", "True"),
        ("orders", "True", "--delete", "--redrive", "-y"),
        ("orders", "True", "--delete", "-n", "1", "-y"),
        ("orders", "True", "--move", "orders", "-y"),
        ("orders", "True", "--move", "../x", "-y"),
        ("orders", "True", "--delay", "-1", "-y"),
        ("orders", "True", "--order", "body"),
    ],
)
def test_what_is_refused(place: Path, arguments: tuple[str, ...]) -> None:
    ran = inside("find", *arguments, cwd=place)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("posthouse: ")
    assert inside("find", "orders", "True", cwd=place).out == LINES
