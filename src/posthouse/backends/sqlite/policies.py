"""Queues and their policies, declared; and the indexes that a policy asks for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from posthouse.backends.sqlite import arrange, fields
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.rows import QueueRow, write_policy
from posthouse.model import QueuePolicy

logger = logging.getLogger("posthouse.sqlite")


def declare(books: Books, name: str, policy: QueuePolicy) -> QueueRow:
    """Make a queue."""
    row = books.add(name, policy, write_policy(policy))
    if policy.index:
        fields.create(books.execute, row.number, policy.index)
    return row


def set_policy(books: Books, name: str, given: Mapping[str, Any]) -> QueueRow:
    """The queue of that name, made, or given these settings where they are others.

    Raises:
        BadArgument: settings that do not go together.
    """
    row = books.find(name)
    if row is None:
        return declare(books, name, QueuePolicy(**given))
    old = row.policy
    policy = msgspec.structs.replace(old, **given)
    if policy == old:
        return row
    row.set_policy(policy)
    books.execute(
        "UPDATE queue SET policy = ? WHERE number = ?", (write_policy(policy), row.number)
    )
    books.reshaped()
    if policy.rate != old.rate:
        row.rate_next_ns = 0
    if policy.rate_per_key != old.rate_per_key:
        books.execute("DELETE FROM key_rate WHERE queue = ?", (row.number,))
    if policy.index != old.index:
        fields.drop(books.execute, row.number, old.index)
        fields.create(books.execute, row.number, policy.index)
    if _arrangement(policy) != _arrangement(old):
        arrange.rearrange(books, row)
    books.touch(row)
    books.stir(row)
    logger.info("queue %r has a new policy: %s", name, policy)
    return row


def _arrangement(policy: QueuePolicy) -> tuple[object, ...]:
    return policy.order, policy.fair, policy.max_in_flight_per_key, policy.rate_per_key
