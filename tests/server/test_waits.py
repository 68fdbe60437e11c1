"""What waits at a server, and in which order it is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from posthouse.testing.serving import serve
from posthouse.wire.answers import Delivered, Done, Failed, Placed
from posthouse.wire.requests import AckMany, Cancel, Get, PutOne
from tests.server.raw import Raw


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[Raw]:
    with serve(tmp_path / "data") as served, Raw(served.url) as found:
        found.hello()
        yield found


def test_a_put_is_answered_before_it_is_delivered(raw: Raw) -> None:
    raw.say(Get(1, "q", 1, 1), PutOne(2, "q", 1, 2, b"x"))
    placed, delivered = raw.hear(), raw.hear()
    assert isinstance(placed, Placed)
    assert isinstance(delivered, Delivered)
    assert delivered.entries[0][0] == placed.first
    raw.say(AckMany(3, "q", delivered.token, [placed.first]))
    assert raw.hear() == Done(3)


def test_a_get_that_is_cancelled_takes_nothing(raw: Raw) -> None:
    raw.say(Get(1, "q", 1, 1), Get(2, "q", 1, 1), Cancel(1, 0, "q"))
    answer = raw.hear()
    assert isinstance(answer, Failed)
    assert (answer.of, answer.code) == (1, "Cancelled")
    raw.say(PutOne(3, "q", 1, 2, b"x"))
    assert [type(raw.hear()), raw.hear().of] == [Placed, 2]


def test_a_get_that_is_too_late_takes_nothing(raw: Raw) -> None:
    raw.say(Get(1, "q", 1, 1, 0, 0.01))
    answer = raw.hear()
    assert isinstance(answer, Failed)
    assert (answer.code, answer.text) == ("TimeoutError", "no message came within 0.01 s")
    raw.say(PutOne(2, "q", 1, 2, b"x"), Get(3, "q", 1, 1))
    assert {raw.hear().of, raw.hear().of} == {2, 3}


def test_of_two_that_wait_each_gets_one(raw: Raw) -> None:
    raw.say(Get(1, "q", 1, 1), Get(2, "q", 10, 1000), PutOne(3, "q", 1, 2, b"a"))
    assert raw.hear().of == 3
    assert raw.hear().of == 1
    raw.say(PutOne(4, "q", 2, 2, b"b"))
    assert raw.hear().of == 4
    last = raw.hear()
    assert (last.of, last.entries[0][2]) == (2, b"b")
