"""The verbs that go by content and attribute."""

from __future__ import annotations

from functools import partial
from typing import Any

from posthouse.backends.sqlite import leave, pages, whole
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.host import Host
from posthouse.backends.sqlite.op import Op
from posthouse.core.filters import Filter
from posthouse.records import Entry


class FindPort:
    """What looks, and what acts on what was found.

    Attributes:
        broker: what the ports of one broker share, and no others.
        shut: the handle was shut down.
        shut_at_once: so that it gives out nothing any more.
    """

    def __init__(self, host: Host, name: str) -> None:
        self.broker: object = host
        self.host = host
        self.name = name
        self.shut = False
        self.shut_at_once = False

    async def _put_back_aside(self) -> int:
        """Let everything be seen that iterators here have set aside; the newest rank there is."""

        def work(books: Books, op: Op) -> int:
            leave.set_aside_no_more(books, books.named(op.queue))
            return books.last_id

        newest: int = await self.host.ask(work, self.name)
        return newest

    async def peek(self, most: int) -> list[tuple[Entry, int]]:
        """See the contract."""
        return await self.host.read(lambda db: pages.peek(db, self.name, most))

    async def find(
        self, where: Filter | None, order: str, most: int, after: tuple[int, ...] | None
    ) -> tuple[list[tuple[Entry, int]], tuple[int, ...] | None]:
        """See the contract."""
        await self._put_back_aside()
        if "priority" in order:
            return await self._find_by_priority(where, order, most, after)
        down = order == "-id"
        last = None if after is None else abs(after[0])
        rows: list[Any] = []
        while True:
            step = await self._look(where, most - len(rows), last, down=down)
            rows += step.rows
            last = step.after
            if len(rows) == most or last is None:
                break
        if len(rows) < most:
            return pages.found(rows), None
        number = rows[-1][0]
        return pages.found(rows), (-number if down else number,)

    async def _look(
        self, where: Filter | None, most: int, last: int | None, **how: Any
    ) -> pages.Step:
        return await self.host.read(lambda db: pages.look(db, self.name, where, most, last, **how))

    async def _find_by_priority(
        self, where: Filter | None, order: str, most: int, after: tuple[int, ...] | None
    ) -> tuple[list[tuple[Entry, int]], tuple[int, ...] | None]:
        rows = await self.host.read(
            lambda db: pages.by_priority(db, self.name, where, order, most, after)
        )
        if len(rows) < most:
            return pages.found(rows), None
        number, priority = rows[-1][0], rows[-1][7]
        return pages.found(rows), (-priority if order == "-priority" else priority, number)

    # acting

    async def delete(self, where: Filter | None) -> int:
        """See the contract."""
        return await self._act(where, "delete")

    async def delay(self, where: Filter | None, delay_ns: int) -> int:
        """See the contract."""
        return await self._act(where, "delay", delay_ns=delay_ns)

    async def move(self, where: Filter | None, target: str) -> int:
        """See the contract."""
        return await self._act(where, "move", target=target)

    async def redrive_found(self, where: Filter | None) -> int:
        """See the contract."""
        return await self._act(where, "redrive")

    async def _act(self, where: Filter | None, verb: whole.Act, **how: Any) -> int:
        newest = await self._put_back_aside()
        last: int | None = None
        done = 0
        while True:
            step = await self._look(where, pages.ACT_MESSAGES, last, columns="m.id")
            ids = [row[0] for row in step.rows]
            if ids:
                work = partial(whole.act, verb=verb, ids=ids, newest=newest, **how)
                done += await self.host.ask(work, self.name)
            last = step.after
            if last is None:
                return done
