"""Settling over a link."""

from __future__ import annotations

import asyncio
from typing import Any

from posthouse.core.letters import MAX_TEXT_CHARACTERS
from posthouse.link.base import PortBase
from posthouse.link.commit import Owned
from posthouse.wire.requests import AckMany, GiveBack, Nack, Reject, SettleStep


class SettlePort(PortBase):
    """The verbs that end a delivery. See `posthouse.backends.contract.QueuePort`."""

    def ack_one(self, token: int, message_id: int) -> asyncio.Future[Any]:
        """See the contract."""
        link = self._link
        link.check()
        link.holdings.settle(token, [message_id])
        return link.ack(self._name, token, message_id, durable=False)

    def ack_durably(self, token: int, message_id: int) -> asyncio.Future[Any]:
        """See the contract."""
        link = self._link
        link.check()
        link.holdings.settle(token, [message_id])
        return link.ack(self._name, token, message_id, durable=True)

    def ack_batch(self, token: int, ids: list[int], *, durable: bool) -> asyncio.Future[Any]:
        """See the contract."""
        self._link.check()
        self._link.holdings.settle(token, ids)
        return self._settle(AckMany(0, self._name, token, ids, durable))

    def nack(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> asyncio.Future[Any]:
        """See the contract."""
        self._link.check()
        self._link.holdings.settle(token, [message_id])
        return self._settle(Nack(0, self._name, token, message_id, delay_ns, _clean(error)))

    def reject(
        self, token: int, message_id: int, reason: str, error: str | None
    ) -> asyncio.Future[Any]:
        """See the contract."""
        self._link.check()
        self._link.holdings.settle(token, [message_id])
        return self._settle(
            Reject(0, self._name, token, message_id, _clean(reason) or "", _clean(error))
        )

    def give_back(self, token: int, message_id: int) -> asyncio.Future[Any]:
        """See the contract."""
        self._link.check()
        self._link.holdings.settle(token, [message_id])
        return self._settle(GiveBack(0, self._name, token, [message_id]))

    def _settle(self, message: Any) -> asyncio.Future[Any]:
        future = self._link.call(message, "lease").futures[0]
        assert future is not None
        return future

    def holds(self, token: int, message_id: int) -> bool:
        """See the contract."""
        return self._link.holdings.holds(token, message_id)

    # steps of a transaction

    def ack_step(self, token: int, message_id: int) -> Owned:
        """See the contract."""
        return Owned(self._link, SettleStep(self._name, "ack", token, message_id))

    def nack_step(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> Owned:
        """See the contract."""
        step = SettleStep(self._name, "nack", token, message_id, delay_ns, "", _clean(error))
        return Owned(self._link, step)

    def reject_step(self, token: int, message_id: int, reason: str, error: str | None) -> Owned:
        """See the contract."""
        step = SettleStep(
            self._name, "reject", token, message_id, None, _clean(reason) or "", _clean(error)
        )
        return Owned(self._link, step)


def _clean(text: str | None) -> str | None:
    """Text that can be sent: an exception's may hold lone surrogates, and be long."""
    if text is None:
        return None
    return text[:MAX_TEXT_CHARACTERS].encode(errors="backslashreplace").decode()
