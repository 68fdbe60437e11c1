"""What the demo counts."""

from __future__ import annotations

from pathlib import Path

from posthouse.cli.demo.analysis import Counts, count_read, count_source, digest, read_source

SOURCE = b"""
import os
from sys import argv, path

class A:
    class B:
        def f(self): ...
        async def g(self): ...

def h():
    import json
    return lambda: json
"""


def test_what_is_counted() -> None:
    assert count_source(SOURCE) == Counts(
        files=1, lines=12, functions=2, async_functions=1, classes=2, imports=3
    )
    assert count_source(b"") == Counts(files=1)
    assert count_source(b"x = 1\ny = 2") == Counts(files=1, lines=2)


def test_a_file_that_does_not_parse_is_a_counted_result() -> None:
    deep = b"(" * 10_000 + b")" * 10_000
    for source in (b"def :\n", b"\x00\n", b"\xff\n", b"print 1\n", deep):
        assert count_source(source) == Counts(files=1, failed=1, lines=1), source[:10]


def test_other_peoples_warnings_are_not_ours() -> None:
    assert count_source(b"x = '\\d'\n") == Counts(files=1, lines=1)


def test_a_file_that_cannot_be_read_is_a_counted_result(tmp_path: Path) -> None:
    assert count_read(read_source(str(tmp_path / "gone.py"))) == Counts(files=1, failed=1)
    (tmp_path / "here.py").write_bytes(SOURCE)
    assert count_read(read_source(str(tmp_path / "here.py"))) == count_source(SOURCE)


def test_counts_add_up() -> None:
    assert Counts(1, 0, 10, 2, 3, 4, 5) + Counts(1, 1, 1, 1, 1, 1, 1) == Counts(
        2, 1, 11, 3, 4, 5, 6
    )


def test_a_digest_knows_which_and_how_often_but_not_in_what_order() -> None:
    assert digest(["a", "b"]) == digest(["b"], digest(["a"])) == digest(["b", "a"])
    assert len({digest([]), digest(["a"]), digest(["a", "a"]), digest(["b"])}) == 4
