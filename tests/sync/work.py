"""What children of the tests do; imported by them under the 'spawn' method."""

from __future__ import annotations

import os
from typing import Any

from posthouse import sync


def double_all(url: str) -> int:
    """Take what there is in "numbers", put twice as much in "doubled", all or none; its pid."""
    with sync.open(url) as broker:
        numbers, doubled = broker.queue("numbers", int), broker.queue("doubled", int)
        while not numbers.empty():
            messages = numbers.get_many(10)
            with broker.transaction() as tx:
                for message in messages:
                    tx.ack(message)
                    tx.put(doubled, 2 * message.body)
    return os.getpid()


def use(handle: Any) -> None:
    """Never reached: the handle cannot come here."""
    raise AssertionError(handle)


def fail(url: str) -> None:
    """An error of posthouse's, to be carried back."""
    with sync.open(url) as broker:
        broker.queue("numbers").get(visibility_timeout=-1)
