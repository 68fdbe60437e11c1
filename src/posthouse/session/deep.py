"""What of a queue is on disk only, read part by part in an order that is asked for.

Nothing is held up by it: what has left meanwhile may be among what is read, and who takes or acts
looks each message up again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, Final, TypeAlias

from posthouse.core import selecting
from posthouse.core.orders import rank_of
from posthouse.core.pages import PAGE_BYTES, PAGE_MESSAGES, Page
from posthouse.core.places import Placed
from posthouse.errors import LogDamaged
from posthouse.paging import read_into
from posthouse.records import Entry, Traits
from posthouse.session.base import PortBase

FIRST_ROWS: Final = 2_000
MOST_ROWS: Final = 128_000
"""So many places are put in order at a time, few at first: most looks end early."""
LOOK_ROWS: Final = 10_000
"""After so many the loop has its turn."""

Key: TypeAlias = "Callable[[Entry], Any]"
Parts: TypeAlias = "AsyncIterator[list[Entry]]"


class DeepPort(PortBase):
    """Reading for those who look through a queue."""

    def _on_disk(
        self,
        key: Key,
        start: Any = None,
        *,
        backwards: bool = False,
        delayed: bool = True,
        known: Collection[Entry] = (),
    ) -> list[Parts]:
        """What waits on disk only (or is ``delayed``) by the key, above ``start`` if there is one.

        ``known`` has been seen in memory. ``backwards``: by growing key the ids get lower.
        """
        state = self._state
        found: list[Parts] = []
        if state.pages is not None:
            pages = list(reversed(state.pages)) if backwards else list(state.pages)
            found.append(self._paged(pages, key, start))
        if state.cold is not None and (state.cold.count or state.cold.stubs.count):
            ranks = set(map(rank_of, known))
            found.append(self._placed(key, start, delayed=delayed, ranks=ranks))
        return found

    async def _paged(self, pages: list[Page], key: Key, start: Any) -> Parts:
        for page in pages:
            if start is not None and not _reaches(page, key, start):
                continue
            part = sorted(await self._read_page(page), key=key)
            if start is not None:
                part = [entry for entry in part if key(entry) > start]
            if part:
                yield part

    async def _placed(self, key: Key, start: Any, *, delayed: bool, ranks: set[int]) -> Parts:
        most = FIRST_ROWS
        while True:
            rows = await self._next_rows(key, start, most, delayed=delayed)
            part: list[Placed] = []
            size_bytes = 0
            for row in rows:
                if row.rank in ranks:
                    continue
                if part and (len(part) >= PAGE_MESSAGES or size_bytes > PAGE_BYTES):
                    yield sorted(await self._read_placed(part), key=key)
                    part, size_bytes = [], 0
                part.append(row)
                size_bytes += row.size_bytes
            if part:
                yield sorted(await self._read_placed(part), key=key)
            if len(rows) < most:
                return
            start = key(_outline(rows[-1]))
            most = min(8 * most, MOST_ROWS)

    async def _next_rows(self, key: Key, start: Any, most: int, *, delayed: bool) -> list[Placed]:
        """The first ``most`` by the key, above ``start``; fewer only if there are no more."""
        cold = self._state.cold
        found: list[tuple[Any, Placed]] = []
        worst: Any = None
        looked = 0
        for part in () if cold is None else cold.parts(delayed=delayed):
            for row in part:
                value = key(_outline(row))
                if (start is None or value > start) and (worst is None or value < worst):
                    found.append((value, row))
            if len(found) >= 2 * most:
                found.sort(key=_value)
                del found[most:]
                worst = found[-1][0]
            looked += len(part)
            if looked >= LOOK_ROWS:
                looked = 0
                await self._pause()
        found.sort(key=_value)
        return [row for _, row in found[:most]]

    async def _read_placed(self, rows: list[Placed]) -> list[Entry]:
        """These messages, from disk or, if they came into memory meanwhile, from there."""
        state, pager = self._state, self._engine.pager
        cold = state.cold
        here = [] if cold is None else [now for row in rows if (now := cold.now(row)) is not None]
        found: list[Entry] = []
        if len(here) < len(rows):
            missed = {row.rank for row in rows} - {row.rank for row in here}
            entries = selecting.everything(state)[0]
            for reserved in self._lane.reservations:
                entries += reserved
            found = [entry for entry in entries if rank_of(entry) in missed]
        if not here or pager is None:
            await self._pause()
            return found
        arrived: asyncio.Future[list[Entry]] = self._loop.create_future()
        pager.fetch_placed(state.number, here, read_into(arrived))
        try:
            return found + await arrived
        except (LogDamaged, OSError):
            self._check_stopped()
            return found + pager.read_placed(state.number, here)  # fails too: the broker stops

    async def _read_page(self, page: Page) -> list[Entry]:
        """The messages of a page that was the queue's a while ago; those that left may be in it."""
        pager = self._engine.pager
        if page.loaded is not None or not page.count or pager is None:
            await self._pause()
            return page.loaded or []
        arrived: asyncio.Future[list[list[Entry]]] = self._loop.create_future()
        pager.fetch(self._state.number, [page], read_into(arrived))
        try:
            return (await arrived)[0]
        except (LogDamaged, OSError):
            self._check_stopped()
            if page.loaded is not None or not page.count:
                return page.loaded or []  # it left memory and the log meanwhile
            return pager.read(self._state.number, page)  # fails the same way, and stops the broker

    async def _next_on_disk(self, most: int) -> list[Entry]:
        """The first ``most`` messages in order of those that wait on disk only, and more."""
        state = self._state
        entries: list[Entry] = []
        if state.cold is not None:
            rows = state.cold.in_order(most)
            for at in range(0, len(rows), PAGE_MESSAGES):
                entries += await self._read_placed(rows[at : at + PAGE_MESSAGES])
        left = most
        for page in list(state.pages or ()):
            if left <= 0:
                break
            entries += [each for each in await self._read_page(page) if page.holds(each[0])]
            left -= page.count
        return entries

    async def _whole(self, entries: list[Entry]) -> list[Entry]:
        """These messages, of some of which only the stub is known; without what left meanwhile."""
        cold = self._state.cold
        stubs = None if cold is None else cold.stubs
        if stubs is None:
            return entries
        rows = [stubs.get(rank_of(entry)) for entry in entries if stubs.lacks(entry)]
        found = {rank_of(entry): entry for each in entries if (entry := stubs.whole(each))}
        if rows:
            read = await self._read_placed([row for row in rows if row is not None])
            found |= {rank_of(entry): entry for entry in read}
        return [found[rank] for entry in entries if (rank := rank_of(entry)) in found]

    async def _bring_in(self, most: int) -> None:
        """Read until so many are in memory, or all that wait."""
        state, pager = self._state, self._engine.pager
        while pager is not None and (rich := state.rich) is not None:
            lacks = rich.lacks(most)
            if not lacks and (not state.outside or (rich.stands >= most and not state.dry)):
                return
            pager.ahead(self._lane, low=most)
            arrival = pager.arrival(self._lane)
            if arrival is None:
                return
            await arrival
            self._check_stopped()

    async def _pause(self) -> None:
        await asyncio.sleep(0)
        self._check_stopped()


def _reaches(page: Page, key: Key, start: Any) -> bool:
    """Whether the page may have messages above ``start``."""
    if not page.count:
        return False
    ends: list[Entry] = [(each, 0, b"", b"", None) for each in (page.first, page.last)]
    return any(key(entry) > start for entry in ends)


def _outline(row: Placed) -> Entry:
    """What orders go by, of a message that was not read."""
    return row.id, 0, b"", b"", Traits(rank=row.rank, priority=row.priority)


def _value(pair: tuple[Any, Placed]) -> Any:
    return pair[0]
