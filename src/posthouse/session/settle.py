"""Settling what was delivered, checked against its lease."""

from __future__ import annotations

from threading import get_ident

from posthouse.core import letters
from posthouse.core.state import SETTLE_STEP
from posthouse.core.transaction import SettleStep
from posthouse.engine import wrong_loop
from posthouse.errors import LeaseExpired
from posthouse.journal.format import SETTLE_BYTES
from posthouse.journal.group import Group
from posthouse.records import Moved, Record
from posthouse.session.base import RECORD_BYTES, PortBase


def settle_bytes(count: int) -> int:
    """The room that the settlement of so many messages takes."""
    return 8 * count + SETTLE_BYTES * (1 + count // SETTLE_STEP)


class SettlePort(PortBase):
    """The verbs that end a delivery."""

    def ack_one(self, token: int, message_id: int) -> Group | None:
        """Settle a delivered message for good, checked against its lease.

        Raises:
            LeaseExpired: it is not held (any more); nothing was done.
            StorageFull: there is no room to write that down; nothing was done.
        """
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        if not engine.tick_ns:
            engine.tick()
        journal = engine.journal
        if journal.settle_room < SETTLE_BYTES:
            engine.check_settle_room(SETTLE_BYTES)
        state = self._state
        if not state.ack_one(token, message_id):
            raise self.expired([message_id])
        group = None if journal.instant else journal.settle(state.number, message_id)
        lane = self._lane
        if lane.watched:
            lane.left()
        if state.rich is not None:
            engine.stir(lane)
        return group

    def ack_durably(self, token: int, message_id: int) -> Group | None:
        """`ack_one`: its group is durable with the settlement."""
        return self.ack_one(token, message_id)

    def ack_batch(self, token: int, ids: list[int], *, durable: bool = False) -> Group | None:
        """Settle messages of one delivery; whole deliveries at the cost of one.

        Raises:
            LeaseExpired: some are not held (any more); the others were settled.
            StorageFull: there is no room to write that down; nothing was done.
        """
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(settle_bytes(len(ids)))
        state = self._state
        missing: list[int] = []
        if not state.ack_batch(token, ids):
            held = [number for number in ids if state.ack_one(token, number)]
            acked = set(held)
            missing = [number for number in ids if number not in acked]
            ids = held
        group = None
        for start in range(0, len(ids), SETTLE_STEP):
            part = ids if len(ids) <= SETTLE_STEP else ids[start : start + SETTLE_STEP]
            group = engine.journal.settle_many(state.number, part)
        lane = self._lane
        if lane.watched:
            lane.left()
        if state.rich is not None:
            engine.stir(lane)
        if missing:
            raise self.expired(missing)
        return group

    def nack(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> Group | None:
        """Give a message back as failed; ``delay_ns`` None takes the policy's backoff.

        Raises: as `ack_one`.
        """
        step = self.nack_step(token, message_id, delay_ns, error)
        records = self._engine.state.nack(
            self._state, token, message_id, self._engine.now_ns(), step.due_ns, error
        )
        return self._kept(records, message_id)

    def nack_step(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> SettleStep:
        """The same as a transaction's step; the due time is drawn here.

        Raises: as `ack_one`, except that the lease is not checked.
        """
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES + letters.size_bound("", error))
        state = self._state
        if delay_ns is None:
            attempts = state.attempts_of(token, message_id)
            delay_ns = state.policy.retry.delay_ns(max(attempts, 1), engine.chance())
        due_ns = engine.now_ns() + delay_ns if delay_ns else 0
        return SettleStep(state, "nack", token, message_id, due_ns, error=error)

    def reject(self, token: int, message_id: int, reason: str, error: str | None) -> Group | None:
        """Send a message to the dead-letter queue. Raises: as `ack_one`."""
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES + letters.size_bound(reason, error))
        records = engine.state.reject(
            self._state, token, message_id, engine.now_ns(), reason, error
        )
        return self._kept(records, message_id)

    def give_back(self, token: int, message_id: int) -> Group | None:
        """Undo the delivery: available at once, the attempt not counted. Raises: as `ack_one`."""
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES)
        return self._kept(engine.state.give_back(self._state, token, message_id), message_id)

    def _kept(self, records: list[Record] | None, message_id: int) -> Group | None:
        if records is None:
            raise self.expired([message_id])
        group = self._engine.keep(records)
        # What stays in its queue is seen at once; what moves, when that is on disk.
        return group if any(isinstance(record, Moved) for record in records) else None

    def holds(self, token: int, message_id: int) -> bool:
        """Whether the delivery still holds the message."""
        return self._state.holds(token, message_id)

    async def extend(self, token: int, timeout_ns: int) -> None:
        """Let the lease run ``timeout_ns`` from now. Raises LeaseExpired."""
        self._check_stopped()
        self._engine.check_loop()
        if not self.prolong(token, timeout_ns):
            raise LeaseExpired(f"the lease on queue {self._state.name!r} has run out")

    def prolong(self, token: int, timeout_ns: int) -> bool:
        """`extend`, for who extends many; False: the lease has run out."""
        if not self._state.extend(token, self._engine.now_ns() + timeout_ns):
            return False
        self._engine.schedule(self._lane)
        return True

    def ack_step(self, token: int, message_id: int) -> SettleStep:
        """An ack as a transaction's step."""
        return SettleStep(self._state, "ack", token, message_id)

    def reject_step(
        self, token: int, message_id: int, reason: str, error: str | None
    ) -> SettleStep:
        """A reject as a transaction's step."""
        return SettleStep(self._state, "reject", token, message_id, reason=reason, error=error)
