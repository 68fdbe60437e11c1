"""What an iterator draws from: a batch under one lease, handed out one by one.

Set aside is not delivered: an attempt counts when its message is yielded, and what was not yielded
goes back uncounted, whoever ends the lease. A message is yielded only while most of its lease is
left; else what is set aside is leased anew first.
"""

from __future__ import annotations

from typing import Any

from posthouse.backends.sqlite import settle, take
from posthouse.backends.sqlite.books import Books, Feeding
from posthouse.backends.sqlite.host import Host
from posthouse.backends.sqlite.op import Op
from posthouse.backends.sqlite.parked import shut_down_error
from posthouse.backends.sqlite.take import Delivery
from posthouse.records import Entry

FRESH_SHARE = 4
"""A lease of which a quarter has passed is renewed before the next message is yielded."""


class SqliteFeed:
    """See the module, and `posthouse.backends.contract.Feed` for the verbs."""

    def __init__(
        self, host: Host, name: str, shut_at_once: Any, most: int, most_bytes: int
    ) -> None:
        self._host = host
        self._name = name
        self._shut_at_once = shut_at_once
        self._most = most
        self._most_bytes = most_bytes
        self._feeding = Feeding()
        self._yielded = 0
        self._deadline_ns = self._fresh_until_ns = 0
        self._registered = False

    def next(self) -> tuple[int, Entry, int] | None:
        """Deliver the next message now; None: none is there. Raises QueueShutDown."""
        host, feeding = self._host, self._feeding
        host.check()
        if self._shut_at_once():
            raise shut_down_error(self._name)
        if feeding.stock and host.now_ns() > self._fresh_until_ns:
            return None
        try:
            entry, attempts = feeding.stock.popleft()
        except IndexError:
            return None
        self._yielded += 1
        host.mark(feeding.token, self._yielded)
        host.delivered(feeding.token, self._deadline_ns, {entry[0]})
        return feeding.token, entry, attempts

    async def wait(self) -> None:
        """Return when a message may be there."""
        stock = self._feeding.stock
        rest = []
        while stock:
            rest.append(stock.popleft())
        if rest:
            await self._renew(rest)
        else:
            await self._reserve()

    async def _reserve(self) -> None:
        def work(books: Books, op: Op) -> Any:
            self._register(books)
            return take.take(books, op, self._most, self._most_bytes, 0, ahead=True)

        got: Delivery = await self._host.ask(work, self._name, wants="message", undo=take.undo)
        attempts = got.attempts or [1] * len(got.entries)
        self._set_aside(got.token, got.deadline_ns, list(zip(got.entries, attempts, strict=True)))

    async def _renew(self, rest: list[tuple[Entry, int]]) -> None:
        token, ids = self._feeding.token, [entry[0] for entry, _ in rest]

        def work(books: Books, op: Op) -> Any:
            return take.renew(books, op, token, ids)

        def back(books: Books, op: Op) -> None:
            settle.give_back_all(books, op, op.answer[0], ids)

        try:
            fresh, deadline_ns, left = await self._host.ask(work, self._name, undo=back)
        except BaseException:
            self._give_back(token, ids)
            raise
        # What ran out meanwhile is quietly somebody else's.
        self._set_aside(fresh, deadline_ns, [row for row in rest if row[0][0] in left])

    def _set_aside(self, token: int, deadline_ns: int, rows: list[tuple[Entry, int]]) -> None:
        feeding = self._feeding
        timeout_ns = max(deadline_ns - self._host.now_ns(), 0)
        self._deadline_ns = deadline_ns
        self._fresh_until_ns = deadline_ns - timeout_ns * (FRESH_SHARE - 1) // FRESH_SHARE
        self._yielded = 0
        feeding.token = token  # before the stock: the writer reads it after
        feeding.stock.extend(rows)

    def _register(self, books: Books) -> None:
        if not self._registered:
            self._registered = True
            books.feeds.setdefault(books.named(self._name).number, []).append(self._feeding)

    def close(self) -> None:
        """Put back what is set aside; from any thread."""
        feeding = self._feeding
        ids = []
        while feeding.stock:
            try:
                ids.append(feeding.stock.popleft()[0][0])
            except IndexError:
                break
        if ids:
            self._give_back(feeding.token, ids)
        if self._registered:
            self._registered = False
            self._host.forget(self._unregister, self._name)

    def _unregister(self, books: Books, op: Op) -> None:
        queue = books.find(op.queue)
        if queue is not None:
            feeds = books.feeds.get(queue.number, [])
            books.feeds[queue.number] = [each for each in feeds if each is not self._feeding]

    def _give_back(self, token: int, ids: list[int]) -> None:
        self._host.forget(lambda b, op: settle.give_back_all(b, op, token, ids), self._name)
