"""A server's logs: lines of text, or of JSON. Neither ever has a body, a header or a secret."""

from __future__ import annotations

import logging
import sys
import time
from typing import TextIO

import msgspec


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message; the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class LineFormatter(logging.Formatter):
    """Text for people, one line a record: what would control a terminal is shown escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text = super().format(record)
        return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def set_up(*, as_json: bool, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Log posthouse's own records to ``stream`` (standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    if as_json:
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("posthouse").setLevel(level)
