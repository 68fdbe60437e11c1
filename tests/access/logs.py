"""Waiting for a line of the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator


class _Heard(logging.Handler):
    def __init__(self, text: str, event: asyncio.Event) -> None:
        super().__init__(logging.INFO)
        self._text = text
        self._event = event

    def emit(self, record: logging.LogRecord) -> None:
        if self._text in record.getMessage():
            self._event.set()


@contextlib.contextmanager
def hearing(text: str) -> Iterator[asyncio.Event]:
    """An event that is set when a line with this text is logged."""
    event = asyncio.Event()
    heard, logger = _Heard(text, event), logging.getLogger("posthouse.access")
    level = logger.level
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    try:
        yield event
    finally:
        logger.setLevel(level)
        logger.removeHandler(heard)
