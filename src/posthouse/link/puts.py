"""Putting over a link."""

from __future__ import annotations

import asyncio
from typing import Any

from posthouse.errors import BadArgument, MessageTooLarge, QueueShutDown
from posthouse.link.base import PortBase
from posthouse.link.call import AGAIN, Call
from posthouse.link.commit import Owned
from posthouse.link.run import Run
from posthouse.model import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_BODY_BYTES,
    MAX_HEADERS_BYTES,
    check_seconds,
)
from posthouse.records import Traits
from posthouse.wire.requests import PutMany, PutOne, PutStep


class PutPort(PortBase):
    """The verbs of producers. See `posthouse.backends.contract.QueuePort`."""

    def __init__(self, link: Any, name: str) -> None:
        super().__init__(link, name)
        self._putting: set[Call] = set()

    def put_plain(self, kind: int, body: bytes) -> None:
        """Never now."""
        return

    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> None:
        """Never now."""
        return

    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> None:
        """Never now."""
        return

    async def put_one_waiting(
        self,
        kind: int,
        body: bytes,
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> tuple[int, None]:
        """See the contract."""
        link = self._link
        if len(body) > MAX_BODY_BYTES or headers:
            self._check_open()
            _check_size(body, headers)
        plain = timeout_s is None and traits is None and not headers
        run = None
        if plain and self._declaring is None and self._shut is None:
            run = link.open_run(self._name)
        if run is None:
            self._check_open()
            if self._declaring is not None:
                await self._ready()
            if link.full():
                await link.room()
            if plain and self._shut is None:
                run = link.open_run(self._name) or self._begin_run()
        if run is not None:
            future = run.add(kind, body)
            try:
                return await future, None
            except asyncio.CancelledError:
                part = run.part_of(future)
                if part >= 0:
                    link.abandon(run, part)
                raise
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
        message = PutOne(0, self._name, link.sequences(1), kind, body, headers, traits, timeout_s)
        return await self._placed(link.call(message, AGAIN, len(body))), None

    def _begin_run(self) -> Run:
        run = self._link.begin_run(self._name)
        # Those that are answered need not be stopped any more.
        self._putting = {call for call in self._putting if call.left > 0}
        self._putting.add(run)
        return run

    async def put_many_waiting(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> tuple[int, None]:
        """See the contract."""
        link = self._link
        self._check_open()
        count = len(bodies)
        size = sum(map(len, bodies)) + count * len(headers)
        if size > MAX_BODY_BYTES or headers:
            for body in bodies:
                _check_size(body, headers)
            if size > MAX_BATCH_BYTES:
                raise MessageTooLarge("the batch", size, MAX_BATCH_BYTES)
        if count > MAX_BATCH_MESSAGES:
            raise BadArgument(f"a batch has at most {MAX_BATCH_MESSAGES:,} messages, not {count:,}")
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
        if self._declaring is not None:
            await self._ready()
        if link.full():
            await link.room()
        self._check_open()
        message = PutMany(
            0, self._name, link.sequences(count), kinds, bodies, headers, traits, timeout_s
        )
        return await self._placed(link.call(message, AGAIN, size)), None

    async def _placed(self, call: Call) -> int:
        future = call.futures[0]
        assert future is not None
        self._putting.add(call)
        try:
            return int(await future)
        except asyncio.CancelledError:
            self._link.abandon(call)
            raise
        finally:
            self._putting.discard(call)

    def put_refusal(self, count: int, size_bytes: int) -> Exception:
        """See the contract."""
        return self._unsupported("put_nowait")

    def put_step(self, kind: int, body: bytes, headers: bytes, traits: Traits | None) -> Owned:
        """See the contract."""
        self._check_open()
        _check_size(body, headers)
        return Owned(self._link, PutStep(self._name, kind, body, headers, traits))

    def _stop_puts(self, error: QueueShutDown) -> None:
        self._shut = error
        for call in list(self._putting):
            self._link.stop(call, error)


def _check_size(body: bytes, headers: bytes) -> None:
    if len(headers) > MAX_HEADERS_BYTES:
        raise MessageTooLarge("the headers", len(headers), MAX_HEADERS_BYTES)
    if len(body) > MAX_BODY_BYTES:
        raise MessageTooLarge("the body", len(body), MAX_BODY_BYTES)
