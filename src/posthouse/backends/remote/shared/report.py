"""What a broker process tells the client that started it: one line of JSON on its standard output.

Everything else that comes there is what Python says when it cannot even start.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from posthouse import errors
from posthouse.errors import BrokerUnreachable, PosthouseError

MOST_TEXT: Final = 4000


class Report(msgspec.Struct, frozen=True):
    """How the start went.

    Attributes:
        outcome: "ready": clients may come; "other": another broker process has the directory;
            "failed": it ends.
        error: the class of what went wrong.
        text: and what it says.
        figures: its attributes.
    """

    outcome: Literal["ready", "other", "failed"]
    error: str = ""
    text: str = ""
    figures: dict[str, Any] = {}


def failed(error: BaseException) -> Report:
    """The report of an error."""
    figures = {
        name: value
        for name, value in vars(error).items()
        if value is None or isinstance(value, (str, int, float))
    }
    return Report("failed", type(error).__name__, str(error)[:MOST_TEXT], figures)


def encode(report: Report) -> bytes:
    """The report as a line."""
    return msgspec.json.encode(report) + b"\n"


def decode(said: bytes) -> Report | None:
    """The report among what was said; None if there is none."""
    for line in reversed(said.splitlines()):
        try:
            return msgspec.json.decode(line, type=Report)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
    return None


def raised(report: Report, directory: str) -> PosthouseError:
    """The error that a report stands for."""
    kind = getattr(errors, report.error, None)
    if not (isinstance(kind, type) and issubclass(kind, PosthouseError)):
        return BrokerUnreachable(
            f"the broker process of {directory} failed: {report.error}: {report.text}"
        )
    error: PosthouseError = kind.__new__(kind, report.text)
    error.args = (report.text,)
    vars(error).update(report.figures)
    return error
