"""Looking: pages of what waits, by a connection of its own, in steps that read only so much.

A long read would keep SQLite from starting its WAL anew, so a look over a deep queue is many short
ones; each goes on after the last id that was looked at.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final, NamedTuple

from posthouse.backends.sqlite import arrange, fields
from posthouse.backends.sqlite.rows import DELIVERY, entry_of, read_policy
from posthouse.core.filters import Filter
from posthouse.model import QueuePolicy
from posthouse.records import Entry

SCAN_MESSAGES: Final = 5_000
ACT_MESSAGES: Final = 1_000
_JOINED: Final = "FROM message AS m {how} CROSS JOIN content AS c ON c.id = m.id"
_KEYS: Final = {"priority": "m.priority, m.id", "-priority": "-m.priority, m.id"}

Found = list[tuple[Entry, int]]


class Step(NamedTuple):
    """One look: rows, and the id to go on after (None: that was all)."""

    rows: list[Any]
    after: int | None


def policy_of(db: sqlite3.Connection, name: str) -> tuple[int, QueuePolicy] | None:
    """A queue's number and policy; None if there is none of that name."""
    row = db.execute("SELECT number, policy FROM queue WHERE name = ?", (name,)).fetchone()
    return None if row is None else (row[0], read_policy(row[1]))


def look(
    db: sqlite3.Connection,
    name: str,
    where: Filter | None,
    most: int,
    after: int | None,
    *,
    down: bool = False,
    columns: str = DELIVERY,
) -> Step:
    """Up to ``most`` that match, in the order of their ids, among the next so many."""
    known = policy_of(db, name)
    if known is None:
        return Step([], None)
    number, policy = known
    asked, parameters = fields.condition(where)
    values: dict[str, Any] = {"queue": number, "most": most, **parameters}
    sign, order = ("<", "m.id DESC") if down else (">", "m.id")
    edge = after if after is not None else ((1 << 63) - 1 if down else 0)
    values["after"] = edge
    condition = f"m.id {sign} :after AND {asked}"
    chosen = fields.candidates(where, number, policy.index)
    bound: int | None = None
    if chosen is not None:
        condition += f" AND m.id IN ({chosen[0]})"
        values |= chosen[1]
    elif where is not None:
        bound = _bound(db, number, edge, down=down)
        if bound is not None:
            condition += f" AND m.id {sign}= :bound"
            values["bound"] = bound
    how = "INDEXED BY of_queue" if chosen is None else "NOT INDEXED"
    rows = db.execute(
        f"SELECT {columns} {_JOINED.format(how=how)} WHERE m.queue = :queue AND m.state <> 2"
        f" AND {condition} ORDER BY {order} LIMIT :most",
        values,
    ).fetchall()
    if len(rows) == most:
        return Step(rows, rows[-1][0])
    return Step(rows, bound)


def _bound(db: sqlite3.Connection, number: int, after: int, *, down: bool) -> int | None:
    sign, order = ("<", "DESC") if down else (">", "ASC")
    row = db.execute(
        f"SELECT id FROM message INDEXED BY of_queue WHERE queue = ? AND id {sign} ?"
        f" ORDER BY id {order} LIMIT 1 OFFSET ?",
        (number, after, SCAN_MESSAGES - 1),
    ).fetchone()
    return None if row is None else int(row[0])


def by_priority(
    db: sqlite3.Connection,
    name: str,
    where: Filter | None,
    order: str,
    most: int,
    after: tuple[int, ...] | None,
) -> list[Any]:
    """Up to ``most`` that match, by priority and then age."""
    known = policy_of(db, name)
    if known is None:
        return []
    asked, parameters = fields.condition(where)
    values: dict[str, Any] = {"queue": known[0], "most": most, **parameters}
    if after is not None:
        asked += f" AND ({_KEYS[order]}) > (:level, :after)"
        values["level"], values["after"] = after
    how = "INDEXED BY of_queue"
    return db.execute(
        f"SELECT {DELIVERY} {_JOINED.format(how=how)} WHERE m.queue = :queue AND m.state <> 2"
        f" AND {asked} ORDER BY {_KEYS[order]} LIMIT :most",
        values,
    ).fetchall()


def peek(db: sqlite3.Connection, name: str, most: int) -> Found:
    """The next messages in order: what stands, then what is lined up."""
    known = policy_of(db, name)
    if known is None:
        return []
    number, policy = known
    rows: list[Any] = []
    parts = (("standing", 0, arrange.order_of(policy)), ("of_queue", 1, "m.rank"))
    for index, state, order in parts:
        if len(rows) < most:
            rows += db.execute(
                f"SELECT {DELIVERY} {_JOINED.format(how=f'INDEXED BY {index}')}"
                f" WHERE m.queue = ? AND m.state = {state} ORDER BY {order} LIMIT ?",
                (number, most - len(rows)),
            ).fetchall()
    return found(rows)


def found(rows: list[Any]) -> Found:
    """Rows as messages: (entry, attempts so far)."""
    return [(entry_of(row), row[9]) for row in rows]
