"""What is done when the log falls idle, or every so often: markers and syncs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from posthouse.journal.options import LogOptions


class Timer(Protocol):
    """What ``call_later`` returns."""

    def cancel(self) -> None:
        """Do not call any more."""


class Idle:
    """One timer, armed by a commit.

    With ``sync="commit"``: when nothing was committed for ``marker_idle_s`` to twice that,
    ``mark()``. With ``"interval"``: ``sync()`` every ``interval_s`` while there are commits, then
    ``mark()``. With ``"os"``: nothing. ``busy()`` tells whether something is under way.
    """

    def __init__(
        self,
        options: LogOptions,
        call_later: Callable[[float, Callable[[], None]], Timer],
        *,
        busy: Callable[[], bool],
        mark: Callable[[], None],
        sync: Callable[[], None],
    ) -> None:
        self._interval = options.sync == "interval"
        self._delay_s = options.interval_s if self._interval else options.marker_idle_s
        self._call_later = call_later
        self._busy = busy
        self._mark = mark
        self._sync = sync
        self._stopped = options.sync == "os"
        self._commits = 0
        self._commits_seen = 0
        self._timer: Timer | None = None

    def committed(self) -> None:
        """A group is on disk. Only the first one after a quiet time sets the timer."""
        self._commits += 1
        if self._timer is None and not self._stopped:
            self._arm()

    def stop(self) -> None:
        """Do nothing more."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._commits_seen = self._commits
        self._timer = self._call_later(self._delay_s, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._stopped:
            return
        if self._interval:
            self._sync()
        if self._commits != self._commits_seen or self._busy():
            self._arm()
        else:
            self._mark()
