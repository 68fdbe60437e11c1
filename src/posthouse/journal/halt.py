"""Why a journal takes nothing more, and the errors that say so."""

from __future__ import annotations

from typing import NoReturn

from posthouse.errors import BrokerClosed, LogDamaged, PosthouseError, StorageFailed, UnknownOutcome


class Halt:
    """Set once, for good.

    Attributes:
        failure: what stopped the journal, if it was a failure.
        halted: it takes nothing more.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.failure: PosthouseError | None = None
        self.halted = False

    def close(self) -> None:
        """It was closed."""
        self.halted = True

    def fail(self, error: BaseException) -> PosthouseError:
        """The disk failed; the failure to show."""
        doing = "reading" if isinstance(error, LogDamaged) else "writing"
        self.failure = StorageFailed(
            f"{self._directory}: {doing} the log failed ({error}); "
            "the broker has stopped: open it again to go on"
        )
        self.failure.__cause__ = error
        self.halted = True
        return self.failure

    def stopped(self) -> PosthouseError:
        """A fresh error for one caller: nothing was stored."""
        if self.failure is None:
            return BrokerClosed("the journal is closed")
        error = StorageFailed(str(self.failure))
        error.__cause__ = self.failure
        return error

    def unknown(self) -> PosthouseError:
        """A fresh error for one caller whose write was under way."""
        error = UnknownOutcome(f"it may or may not have been stored: {self.failure}")
        error.__cause__ = self.failure
        return error

    def refuse(self) -> NoReturn:
        """Raise `stopped`."""
        raise self.stopped()
