"""Topics: a message published once goes to every queue that is bound for it."""

from __future__ import annotations

from typing import Any, Unpack

from posthouse import bodies
from posthouse.backends.contract import Backend
from posthouse.message import id_text
from posthouse.model import MAX_KEY_BYTES, check_text
from posthouse.options import PublishOptions, encode, pack
from posthouse.records import Publication


class Topic:
    """A handle on a topic of a broker; cheap. Made by `Broker.topic`.

    A topic is nothing but its bindings (`Queue.bind`); it holds no messages.
    """

    def __init__(
        self, name: str, backend: Backend, encoder: bodies.BodyEncoder = bodies.PLAIN
    ) -> None:
        self.name = name
        self._encoder = encoder
        self._backend = backend

    async def publish(
        self,
        body: Any,
        *,
        key: str = "",
        timeout: float | None = None,
        unroutable: bool = False,
        **options: Unpack[PublishOptions],
    ) -> dict[str, str]:
        """Put a message on every queue bound for ``key``, in one atomic operation.

        The body is stored once. Returns, when it is on disk, the message's id in each queue.

        Args:
            key: the routing key: words between dots, at most 250 bytes.
            timeout: seconds to wait for room in full queues that wait (None: for ever).
            unroutable: a message that goes nowhere is fine: the answer is then empty.
            options: see `posthouse.options.PublishOptions`.

        Raises:
            Unroutable: no queue is bound for the key; nothing was stored.
            QueueFull, TimeoutError, and the rest: as `Queue.put`; nothing was stored.
        """
        what = self._publication(body, key, unroutable, options)
        ids = await self._backend.publish(what, timeout)
        return {name: id_text(number) for name, number in ids.items()}

    def steps(
        self, body: Any, key: str, *, unroutable: bool = False, **options: Unpack[PublishOptions]
    ) -> list[Any]:
        """What publishing comes to in a transaction. Arguments and errors as `publish`."""
        return self._backend.publish_steps(self._publication(body, key, unroutable, options))

    def _publication(
        self, body: Any, key: str, unroutable: bool, options: PublishOptions
    ) -> Publication:
        if key:
            check_text("a routing key", key, MAX_KEY_BYTES)
        kind, data = encode(self._encoder, body, options)
        packed, traits = pack(options, self._backend.now_ns())  # type: ignore[arg-type]
        return Publication(self.name, key, kind, data, packed, traits, unroutable)

    async def bindings(self) -> list[tuple[str, str]]:
        """The queues bound to it, and their patterns."""
        return [(queue, pattern) for _, queue, pattern in await self._backend.bindings(self.name)]

    def __repr__(self) -> str:
        return f"<Topic {self.name!r}>"
