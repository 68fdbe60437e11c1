"""A table as a queue, over asyncpg: SKIP LOCKED.

Deletions of the row's primary key are all the bookkeeping there is: no attempts, no delays.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from bench.peers.model import Ends
from bench.peers.server import HOST

asyncpg: Any = importlib.import_module("asyncpg")

CONNECTIONS = 20
"""Of a producer: more of them share a commit in row N2, and wait for each other no longer."""
LOOK_AGAIN_S = 0.001
LEASE_S = 30

MAKE = """
CREATE TABLE {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    body bytea NOT NULL
)
"""
PUT = "INSERT INTO {table} (body) VALUES ($1)"
PUT_AND_WAKE = (
    "WITH put AS (INSERT INTO {table} (body) VALUES ($1)) SELECT pg_notify('{table}', '')"
)
PUT_MANY = "INSERT INTO {table} (body) SELECT unnest($1::bytea[])"
LEASE = f"""
UPDATE {{table}} SET leased_until = now() + interval '{LEASE_S} seconds'
WHERE id = ANY (ARRAY (
    SELECT id FROM {{table}} WHERE leased_until < now()
    ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING id, body
"""
DELETE = "DELETE FROM {table} WHERE id = ANY ($1::bigint[])"
HOLD = """
DELETE FROM {table}
WHERE id = ANY (ARRAY (
    SELECT id FROM {table} ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING id, body
"""


class Client:
    """A table, through a pool of connections (a producer) or one (a consumer)."""

    def __init__(self, pool: Any, connection: Any, ends: Ends) -> None:
        self._pool = pool
        self._connection = connection
        self._table = ends.queue.replace("-", "_")
        self._wake = ends.wake
        self._held = ends.settings["take"] == "held"
        self._woken = asyncio.Event()
        self._taken: list[int] = []
        self._transaction: Any = None

    def _sql(self, text: str) -> str:
        return text.format(table=self._table)

    async def declare(self) -> None:
        """Make the table; listen, if puts wake."""
        await self._connection.execute(self._sql(MAKE))
        if self._wake:
            await self._connection.add_listener(self._table, lambda *_: self._woken.set())

    async def put(self, body: bytes) -> None:
        """One INSERT, one commit."""
        await self._pool.execute(self._sql(PUT_AND_WAKE if self._wake else PUT), body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """One INSERT for all, one commit."""
        await self._pool.execute(self._sql(PUT_MANY), bodies)

    async def take(self, most: int) -> Sequence[bytes]:
        """Lease or lock rows; where there are none, wait to be woken or look again."""
        while True:
            self._woken.clear()
            rows = await (self._hold(most) if self._held else self._lease(most))
            if rows:
                self._taken = [row[0] for row in rows]
                return [row[1] for row in rows]
            if self._wake:
                await self._woken.wait()
            else:
                await asyncio.sleep(LOOK_AGAIN_S)

    async def _lease(self, most: int) -> Any:
        return await self._connection.fetch(self._sql(LEASE), most)

    async def _hold(self, most: int) -> Any:
        self._transaction = self._connection.transaction()
        await self._transaction.start()
        rows = await self._connection.fetch(self._sql(HOLD), most)
        if not rows:
            await self._transaction.rollback()
        return rows

    async def settle(self) -> None:
        """Delete them, or commit what is deleted."""
        if self._held:
            await self._transaction.commit()
        else:
            await self._connection.execute(self._sql(DELETE), self._taken)

    async def close(self) -> None:
        """Close the connections."""
        if self._connection is not None:
            self._connection.terminate()
        if self._pool is not None:
            self._pool.terminate()


async def connect(ends: Ends) -> Client:
    """Connect; the consumer makes the table."""
    where = {"host": HOST, "port": ends.port, "user": "postgres", "database": "postgres"}
    if ends.role == "producer":
        size = {"min_size": CONNECTIONS, "max_size": CONNECTIONS}
        return Client(await asyncpg.create_pool(**where, **size), None, ends)
    client = Client(None, await asyncpg.connect(**where), ends)
    await client.declare()
    return client
