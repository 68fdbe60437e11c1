"""Subscriptions: messages pushed within a client's credit, each leased when it is sent.

Invariant: ``unseen`` is what was pushed and the client has not yet said to have seen; it never
exceeds the credit that was given at first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from posthouse.errors import BadArgument, LeaseExpired, ProtocolError
from posthouse.records import Entry
from posthouse.server.member import Member
from posthouse.wire import failures
from posthouse.wire.answers import Pushed, Recall
from posthouse.wire.requests import Credit, Returned, Subscribe, Unsubscribe

MOST_PUSHED: Final = 100
MOST_PUSHED_BYTES: Final = 1024 * 1024
MOST_CREDIT: Final = 100_000


class Subscription:
    """One queue's messages on their way to one client."""

    def __init__(
        self,
        member: Member,
        request: Subscribe,
        most_bytes: int,
        starved: Callable[[str, Member], None],
    ) -> None:
        if not 0 < request.messages <= MOST_CREDIT or request.size_bytes < 1:
            raise BadArgument(f"a subscription has credit for 1 to {MOST_CREDIT:,} messages")
        self.number = request.id
        self.queue = request.queue
        self.unseen = 0
        self._answer: asyncio.Future[None] | None = None
        self._asked = self._waits = True
        self._pushed = 0
        self._recent: deque[tuple[int, int]] = deque(maxlen=MOST_CREDIT)
        self._member = member
        self._starved = starved
        self._port = member.port(request.queue)
        self._state = member.session.engine.declare(request.queue, None).state
        self._messages = request.messages
        self._bytes = min(request.size_bytes, most_bytes)
        self._most_bytes = most_bytes
        self._feed = self._port.feed(min(request.messages, MOST_PUSHED), MOST_PUSHED_BYTES)
        self._stirred = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def credit(self, request: Credit) -> None:
        """The client has seen some, or gives more credit."""
        self._drop(request.seen)
        if request.messages > 0 or request.waits:
            self._messages = min(self._messages + max(request.messages, 0), MOST_CREDIT)
            self._bytes = min(self._bytes + max(request.size_bytes, 0), self._most_bytes)
            self._asked = True
            self._waits = self._waits or request.waits
            self._stirred.set()

    def _drop(self, seen: int) -> None:
        self.unseen = max(0, self.unseen - max(seen, 0))
        while len(self._recent) > self.unseen:
            self._recent.popleft()

    def stir(self) -> None:
        """The client takes its answers again."""
        self._asked = True
        self._stirred.set()

    async def _run(self) -> None:
        member = self._member
        try:
            while True:
                if self._asked and self._may_push() and self._push():
                    await asyncio.sleep(0)
                elif self._waits and self._may_push():
                    self._starved(self.queue, member)
                    await self._feed.wait()
                    self._asked = True
                else:
                    # What comes now is not taken ahead of others: the client has enough to see.
                    self._asked = False
                    self._stirred.clear()
                    await self._stirred.wait()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            member.send(failures.failed(self.number, 0, error))

    def _may_push(self) -> bool:
        line = self._member.line
        if self._messages < 1 or self._bytes < 1 or line is None or not line.takes:
            return False
        # In an order that counts, nobody is handed more than is about to be looked at.
        rich = self._state.rich
        return rich is None or self.unseen < rich.prefetch

    def _push(self) -> bool:
        tokens: list[int] = []
        entries: list[Entry] = []
        attempts: list[int] = []
        size = 0
        most = min(self._messages, MOST_PUSHED)
        rich = self._state.rich
        if rich is not None:
            most = min(most, rich.prefetch - self.unseen)
        most_bytes = min(self._bytes, MOST_PUSHED_BYTES)
        while len(tokens) < most and size < most_bytes:
            taken = self._feed.next()
            if taken is None:
                break
            token, entry, count = taken
            tokens.append(token)
            entries.append(entry)
            attempts.append(count)
            size += len(entry[2]) + len(entry[3])
        if not tokens:
            return False
        self._waits = False
        self._asked = rich is None  # else one at a time, each when it is asked for
        self.unseen += len(tokens)
        self._pushed += len(tokens)
        self._recent.extend((token, entry[0]) for token, entry in zip(tokens, entries))
        self._messages -= len(tokens)
        self._bytes -= size
        pushed = Pushed(self.number, tokens, entries, attempts, self._state.timeout_ns)
        self._member.send(pushed)
        self._member.flush()
        return True

    @property
    def recalled(self) -> bool:
        """Whether it has been asked for what lies unseen, and not answered."""
        return self._answer is not None

    def recall(self, *, every: bool = False) -> asyncio.Future[None] | None:
        """Ask for half (or all) of what lies unseen; done when that is answered. None: nothing."""
        if not self.unseen or self._member.line is None:
            return None
        if self._answer is None or every:
            if self._answer is None:
                self._answer = asyncio.get_running_loop().create_future()
            self._member.send(Recall(self.number, every))
        return self._answer

    def returned(self, request: Returned) -> None:
        """The answer."""
        self._answered()
        self.take_back(request.tokens, request.ids)
        back = set(request.tokens)
        self._recent = deque(
            (pair for pair in self._recent if pair[0] not in back), maxlen=MOST_CREDIT
        )
        self.unseen = max(0, self.unseen - len(back))

    def _answered(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(None)

    def take_back(self, tokens: list[int], ids: list[int]) -> None:
        """These were not seen, and go back uncounted."""
        for token, message_id in zip(tokens, ids, strict=True):
            try:
                self._port.give_back(token, message_id)
            except LeaseExpired:
                continue  # it is back already

    def end(self, request: Unsubscribe) -> None:
        """Push no more; what was not seen, or is on its way, goes back."""
        self.close()
        self.take_back(request.tokens, request.ids)
        under_way = min(max(self._pushed - request.received, 0), len(self._recent))
        for _ in range(under_way):
            token, message_id = self._recent.pop()
            self.take_back([token], [message_id])

    def close(self) -> None:
        """Push no more."""
        self._answered()
        self._task.cancel()
        self._feed.close()


def _check_pairs(request: Returned | Unsubscribe) -> None:
    if len(request.tokens) != len(request.ids):
        raise ProtocolError("what goes back is named by one token for each of its messages")


class Subscriptions:
    """All of one member's, by number."""

    def __init__(
        self,
        member: Member,
        all_of_server: dict[str, set[Subscription]],
        starved: Callable[[str, Member], None],
    ) -> None:
        self._member = member
        self._starved = starved
        self._by_queue = all_of_server
        self._mine: dict[int, Subscription] = {}

    def open(self, request: Subscribe) -> None:
        """Begin one. Raises BadArgument: too many, or no credit."""
        if len(self._mine) >= self._member.limits.subscriptions:
            raise BadArgument(
                f"a client has at most {self._member.limits.subscriptions:,} subscriptions"
            )
        most_bytes = self._member.limits.flight_bytes
        made = Subscription(self._member, request, most_bytes, self._starved)
        self._mine[request.id] = made
        self._by_queue.setdefault(request.queue, set()).add(made)

    def credit(self, request: Credit) -> None:
        """More credit; for one that is over, nothing."""
        found = self._mine.get(request.of)
        if found is not None:
            found.credit(request)

    def returned(self, request: Returned) -> None:
        """A recall was answered. Raises ProtocolError: not one token for each message."""
        _check_pairs(request)
        found = self._mine.get(request.of)
        if found is not None:
            found.returned(request)

    def end(self, request: Unsubscribe) -> None:
        """End one. Raises ProtocolError: not one token for each message."""
        _check_pairs(request)
        found = self._mine.pop(request.of, None)
        if found is not None:
            self._forget(found)
            found.end(request)

    def _forget(self, found: Subscription) -> None:
        found.close()
        others = self._by_queue.get(found.queue)
        if others is not None:
            others.discard(found)
            if not others:
                del self._by_queue[found.queue]

    def pause(self) -> None:
        """The connection is gone: what was pushed is still leased, and may have been seen."""
        self.close()

    def stir(self) -> None:
        """The connection takes more again."""
        for each in self._mine.values():
            each.stir()

    def close(self) -> None:
        """End all."""
        mine, self._mine = self._mine, {}
        for each in mine.values():
            self._forget(each)
