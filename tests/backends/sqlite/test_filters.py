"""Filters and indexes in the database: the same as the closures, whatever names and bodies are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import posthouse
from posthouse.backends.sqlite import fields
from posthouse.core.filters import filter_of
from posthouse.core.filters.literals import step_problem
from posthouse.testing.cases.base import drain
from tests.backends.sqlite.places import opened

HOSTILE = [
    "';--",
    'a"b',
    "a'b",
    "$[0]",
    ":queue",
    "?1",
    "DROP TABLE message",
    "%s",
    "{}",
    "é\u202e",
]

SCALAR = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([0.5, -1.5, 1e300]),
    st.sampled_from(["", "a", "ab", "5", *HOSTILE]),
)
BODY = st.one_of(
    SCALAR,
    st.dictionaries(st.sampled_from(["n", "s"]), st.one_of(SCALAR, st.lists(SCALAR, max_size=3))),
)
CODEC = st.sampled_from(["json", "msgpack"])
FILTERS = [
    "body.n == 1",
    "body.n != 1",
    "body.n in [1, 'a', True]",
    "-1 <= body.n < 3",
    "3 > body.n and body.n >= 0",
    "body.n == 'a' or body.s == 'a'",
    "body.n == 2 and body.s > 'a'",
    "not body.n == 1",
    "'a' in body.s",
    "body.s.startswith('a')",
    "body.n is None",
    "body == 5",
    'headers.h == "a\'b"',
    "headers.h in ['a', '%s'] and body.n == 1",
    "headers.h > 'a' or body.n > 0",
]


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(BODY, CODEC, st.sampled_from([None, "zstd"]), st.sampled_from(HOSTILE)),
        max_size=12,
    )
)
def test_an_index_and_the_database_find_what_the_closures_find(
    tmp_path_factory: Any, messages: list[tuple[Any, str, Any, str]]
) -> None:
    path: Path = tmp_path_factory.mktemp("filters") / "q.db"

    async def run() -> None:
        async with opened(path) as broker, posthouse.open("memory:") as memory:
            queues = [
                memory.queue("q"),
                broker.queue("plain"),
                broker.queue("indexed", index=("body.n", "headers.h", "body.s")),
            ]
            for home, queue in zip((memory, broker, broker), queues, strict=True):
                for body, codec, compress, header in messages:
                    handle = home.queue(queue.name, codec=codec, compress=compress)
                    await handle.put(body, headers={"h": header})
            for where in FILTERS:
                bodies = [[m.body for m in await queue.find(where)] for queue in queues]
                assert bodies[1] == bodies[0], where
                assert bodies[2] == bodies[0], where

    asyncio.run(run())


async def test_an_index_is_used(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "q.db"
    async with opened(path) as broker:
        queue = broker.queue("q", index=("body.n", "headers.h"))
        await queue.put_many([{"n": n} for n in range(100)])
        db = sqlite3.connect(path)
        for where, name in (
            ("body.n == 5", "field_1_0"),
            ("5 <= body.n and body.n < 9", "field_1_0"),
            ("body.n in [1, 2]", "field_1_0"),
            ("headers.h == 'x' and body.other == 5", "field_1_1"),
        ):
            found = fields.candidates(filter_of(where), 1, ("body.n", "headers.h"))
            assert found is not None
            plan = db.execute(f"EXPLAIN QUERY PLAN {found[0]}", found[1]).fetchall()
            assert any(name in row[3] for row in plan), (where, plan)
        db.close()


@pytest.mark.parametrize(
    "where", ["body.n != 5", "not body.n == 5", "body.other == 5", "id == '0'"]
)
def test_where_no_index_helps(where: str) -> None:
    where = where.replace("'0'", "'0000000000000000'")
    assert fields.candidates(filter_of(where), 1, ("body.n",)) is None


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_names_are_names(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path / "q.db") as broker:
        index = (f"headers[{name!r}]",) if step_problem(name) is None else ()
        queue = broker.queue("q", index=index)
        await queue.put({"field": name}, key=name, headers={name: name}, dedup=name)
        await queue.put({"field": "other"}, key="other", headers={"x": "y"})
        assert await queue.put("again", dedup=name) != ""
        found = [m.body for m in await queue.find(f"key == {name!r}")]
        assert found == [{"field": name}]
        found = [m.body for m in await queue.find(f"body.field == {name!r}")]
        assert found == [{"field": name}]
        if index:
            found = [m.body for m in await queue.find(f"headers[{name!r}] == {name!r}")]
            assert found == [{"field": name}]
        topic = broker.topic("t")
        await queue.bind(topic, "#")
        await topic.publish("published", key=name)
        assert len(await drain(queue)) == 3


async def test_bodies_that_are_no_json_are_nothing_to_a_filter(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as broker:
        queue = broker.queue("q", index=("body.n",))
        await queue.put(b"\xff\xfe{")
        await queue.put("{not json")
        port = queue.port
        await port.put_one_waiting(0, b'{"n": 1, oops', b"", None, None)
        await port.put_one_waiting(0, b"[" * 5000 + b"]" * 5000, b"", None, None)
        await port.put_one_waiting(3, b"\xc1 no msgpack", b"", None, None)
        await queue.put({"n": 1})
        assert [m.body for m in await queue.find("body.n == 1")] == [{"n": 1}]
        assert len(await queue.find("body is None")) == 4


async def test_an_index_survives_moves_and_deaths(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as broker:
        queue = broker.queue("q", index=("body.n",), dead_letter="graves")
        graves = broker.queue("graves", index=("headers['posthouse-reason']",))
        await queue.put_many([{"n": n} for n in range(5)])
        await (await queue.get(where="body.n == 3")).reject("odd one")
        assert await queue.find("body.n == 3") == []
        (dead,) = await graves.find("headers['posthouse-reason'] == 'odd one'")
        assert dead.body == {"n": 3}
        assert await graves.redrive() == 1
        assert await graves.find("headers['posthouse-reason'] == 'odd one'") == []
        assert len(await queue.find("body.n == 3")) == 1
