"""Every error posthouse raises, drawn once.

Who is to blame decides the branch::

    PosthouseError
    ├── CallerError             the program: change the call
    │   ├── BadArgument         (ValueError)  a value outside what is allowed
    │   │   ├── FilterError     a filter that is none: says where
    │   │   ├── InvalidName     a queue name that is not on the allow-list
    │   │   └── MessageTooLarge a body, headers or batch over its limit
    │   ├── BodyError           (ValueError)  a body that cannot be encoded or decoded
    │   ├── Unsupported         a capability the backend does not have
    │   ├── AuthenticationFailed who the caller says he is was not believed
    │   ├── AccessDenied        the user has no right to do this
    │   ├── QueueFull           (asyncio.QueueFull)
    │   ├── Unroutable          a published message that no queue is bound for
    │   ├── QueueShutDown       (asyncio.QueueShutDown where Python has it)
    │   ├── LeaseExpired        the delivery is no longer this consumer's to settle
    │   ├── AlreadySettled      the message was settled, and differently
    │   ├── BrokerClosed        use after close
    │   ├── WrongLoop           use from another event loop or thread
    │   └── ForkedProcess       use of a parent's handle in a forked child
    ├── DiskError               the disk or the directory: an operator must act
    │   ├── StorageFull         no room; nothing was changed; works again when there is room
    │   ├── StorageFailed       a write or fsync failed; the broker has stopped; reopen
    │   ├── LogDamaged          the log is not what was written: names file and offset
    │   ├── LogUnreadable       not a log of ours, a newer format, or no permission
    │   ├── AlreadyOpen         another process or handle has the directory
    │   └── AccessFileError     a users file, secret, key or certificate that cannot be used
    ├── PeerError               the other side of a connection, or the way to it
    │   ├── BrokerUnreachable   the server cannot be reached, or stays away
    │   └── ProtocolError       it says what is not the protocol; or versions do not meet
    ├── UnknownOutcome          it may or may not have been stored
    └── BrokerBug               an invariant of posthouse's own does not hold
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

__all__ = [
    "AccessDenied",
    "AccessFileError",
    "AlreadyOpen",
    "AlreadySettled",
    "AuthenticationFailed",
    "BadArgument",
    "BodyError",
    "BrokerBug",
    "BrokerClosed",
    "BrokerUnreachable",
    "CallerError",
    "DiskError",
    "FilterError",
    "ForkedProcess",
    "InvalidName",
    "LeaseExpired",
    "LogDamaged",
    "LogUnreadable",
    "MessageTooLarge",
    "PeerError",
    "PosthouseError",
    "ProtocolError",
    "QueueEmpty",
    "QueueFull",
    "QueueShutDown",
    "StorageFailed",
    "StorageFull",
    "UnknownOutcome",
    "Unroutable",
    "Unsupported",
    "WrongLoop",
]

QueueEmpty = asyncio.QueueEmpty
_SHOWN_CHARACTERS = 72
_SHOWN_BEFORE = 48
_ShutDownBase: type[Exception] = getattr(asyncio, "QueueShutDown", Exception)


class PosthouseError(Exception):
    """The root of everything posthouse raises on purpose. Any of them may be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by their arguments: some make their text of them.
        return _again, (type(self), self.args, self.__dict__.copy())


def _again(kind: type[PosthouseError], args: tuple[Any, ...], kept: dict[str, Any]) -> Any:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(kept)
    return error


class CallerError(PosthouseError):
    """The call was wrong; the same call will fail again."""


class BadArgument(CallerError, ValueError):
    """A value outside what is allowed; the text names the value and the limit."""


class FilterError(BadArgument):
    """A filter that cannot be used; the text shows it with a caret under the fault.

    Attributes:
        fault: what is wrong, without the caret.
        where: the filter as given.
        at: the character at which it goes wrong, from 0.
    """

    def __init__(self, fault: str, where: str = "", at: int = 0) -> None:
        at = min(max(at, 0), len(where))
        first = where.rfind("\n", 0, at) + 1
        line = where[first:].partition("\n")[0]
        column = at - first
        begin = max(0, column - _SHOWN_BEFORE)
        shown = line[begin : begin + _SHOWN_CHARACTERS]
        # Only what takes one column each: the caret has to stand under the fault.
        shown = "".join(c if c.isprintable() else "?" for c in shown)
        mark = f"\n  {shown}\n  {' ' * (column - begin)}^" if where else ""
        super().__init__(f"{fault}{mark}")
        self.fault = fault
        self.where = where
        self.at = at


class InvalidName(BadArgument):
    """A queue name that is empty, too long, or has a character that is not allowed."""


class MessageTooLarge(BadArgument):
    """A body, headers or batch over its limit. Nothing was written.

    Attributes:
        size_bytes: what was given.
        limit_bytes: what is allowed.
    """

    def __init__(self, what: str, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"{what} is {size_bytes:,} bytes; the limit is {limit_bytes:,} bytes")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class BodyError(CallerError, ValueError):
    """A body that cannot be encoded, or bytes that do not decode.

    Attributes:
        message_id: the id of the message whose body did not decode; "" for anything else.
    """

    message_id: str = ""


class Unsupported(CallerError):
    """The backend lacks a capability. Nothing was stored."""


class AuthenticationFailed(CallerError):
    """The user, or the secret or certificate that should prove it, was not accepted.

    The text never says which, nor shows a secret; the server's log says why.

    Attributes:
        retry_after_s: it may be worth another try after so many seconds; 0: the same attempt
            will fail again.
    """

    retry_after_s: float = 0.0

    def __init__(self, text: str, retry_after_s: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class AccessDenied(CallerError):
    """The user has no right to do this. Nothing was done.

    Attributes:
        user: who asked.
        right: what it takes: "put", "get", "browse" or "manage".
        queue: on which queue or topic. Each is "" where it was not told.
    """

    user: str = ""
    right: str = ""
    queue: str = ""

    def __init__(self, text: str, user: str = "", right: str = "", queue: str = "") -> None:
        super().__init__(text)
        self.user = user
        self.right = right
        self.queue = queue


class Unroutable(CallerError):
    """No queue is bound to the topic for this routing key. Nothing was stored."""


class QueueFull(CallerError, asyncio.QueueFull):
    """The queue is at ``max_messages`` or ``max_bytes`` (or the batch can never fit)."""


class QueueShutDown(CallerError, _ShutDownBase):  # type: ignore[valid-type, misc]
    """The queue's handle was shut down in this process."""


class LeaseExpired(CallerError):
    """The lease ran out, or was settled by somebody else: the message may be redelivered.

    Attributes:
        numbers: the ids, as numbers, of the messages it is about, where that can be told.
    """

    def __init__(self, text: str, numbers: Sequence[int] = ()) -> None:
        super().__init__(text)
        self.numbers = tuple(numbers)


class AlreadySettled(CallerError):
    """This delivery was already settled in another way (acked, then nacked, say)."""


class BrokerClosed(CallerError, RuntimeError):
    """The broker was closed; open it again."""


class WrongLoop(CallerError, RuntimeError):
    """The handle belongs to another event loop or thread."""


class ForkedProcess(CallerError, RuntimeError):
    """The handle was opened before a fork; open the broker in the child (use spawn)."""


class DiskError(PosthouseError):
    """The disk, or the directory on it."""


class StorageFull(DiskError):
    """There is no room for it. Nothing was changed; it works again when there is room."""


class StorageFailed(DiskError):
    """A write or an fsync failed. The broker has stopped and must be opened again."""


class LogDamaged(DiskError):
    """Bytes that were acknowledged are not what was written. Nothing was touched.

    Attributes:
        path: the file.
        offset: where in it, in bytes.
    """

    def __init__(self, path: str, offset: int, what: str) -> None:
        super().__init__(f"{path}: offset {offset}: {what}; see: posthouse log check")
        self.path = path
        self.offset = offset


class LogUnreadable(DiskError):
    """The directory is not a posthouse log, is of a newer format, or may not be used."""


class AlreadyOpen(DiskError):
    """The directory is open in another process, or by another handle of this one.

    Attributes:
        pid: the process that has it, or None where it could not be told.
    """

    def __init__(
        self,
        path: str,
        pid: int | None,
        *,
        since: str = "",
        advice: str = "close it there first",
    ) -> None:
        who = f"process {pid}" if pid is not None else "another process"
        when = f" (since {since})" if since else ""
        super().__init__(f"{path} is already open in {who}{when}; {advice}")
        self.path = path
        self.pid = pid


class PeerError(PosthouseError):
    """The server (or the client), or the way to it."""


class BrokerUnreachable(PeerError):
    """The server cannot be reached, or has been away for too long. Nothing was done."""


class ProtocolError(PeerError):
    """The other side says what is not the protocol, or does not speak this version of it."""


class AccessFileError(DiskError):
    """A users file, secret, key or certificate that is missing, damaged or open to others.

    The text names the file, what is wrong and what to do, and never shows what is in it.

    Attributes:
        path: the file.
    """

    path: str = ""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path


class UnknownOutcome(PosthouseError):
    """The operation may or may not have been stored (a retry with the same dedup id is safe)."""


class BrokerBug(PosthouseError):
    """An invariant of posthouse does not hold. Please report it."""
