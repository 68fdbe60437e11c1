"""Topics, for threads."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn, Unpack

from posthouse import topic as aio
from posthouse.options import PublishOptions
from posthouse.sync.portal import Portal, refuse_copies


class Topic:
    """A handle on a topic of a broker, for threads. As `posthouse.Topic`.

    Attributes:
        aio: the same handle for coroutines on the broker's loop.
        name: the topic's name.
    """

    def __init__(self, topic: aio.Topic, portal: Portal) -> None:
        self.aio = topic
        self.name = topic.name
        self._portal = portal

    def publish(
        self,
        body: Any,
        *,
        key: str = "",
        timeout: float | None = None,
        unroutable: bool = False,
        **options: Unpack[PublishOptions],
    ) -> dict[str, str]:
        """Put a message on every queue bound for ``key``. As `posthouse.Topic.publish`."""
        return self._portal.call(
            partial(
                self.aio.publish, body, key=key, timeout=timeout, unroutable=unroutable, **options
            )
        )

    def bindings(self) -> list[tuple[str, str]]:
        """The queues bound to it, and their patterns."""
        return self._portal.call(self.aio.bindings)

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)

    def __repr__(self) -> str:
        return repr(self.aio)
