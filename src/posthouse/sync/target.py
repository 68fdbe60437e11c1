"""Where messages may be moved to, as a protocol: `found` comes before `queue`."""

from __future__ import annotations

from typing import Any, Protocol

from posthouse import queue


class Target(Protocol):
    """A queue for threads."""

    aio: queue.Queue[Any]
