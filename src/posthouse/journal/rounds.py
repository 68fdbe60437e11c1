"""Whether there is need to compact, and which segment.

Segments leave in order, so only the oldest one is ever compacted. There is need where little of it
lives, and where the log takes more than it should for all that lives in it. The second may not be
helped: bodies that are a bit over half a segment take a segment each, however often they are
copied. So copying goes in *rounds*, from the oldest segment to the one that is being written when
the round begins; and after a round that gained nothing it rests.

Invariants:
    1. For the second reason a round begins only if the one before made the log smaller, or others
       have put or settled enough since (`_differ`). So there is an end when nobody else is at
       work, and what is copied is bounded by what is put and settled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from posthouse.journal.live import LiveTable
from posthouse.journal.options import LogOptions

LEFT_SEGMENTS: Final = 2
"""The segment that is being written, and the one before it, are never compacted."""

_REST_SHARE: Final = 8


@dataclass(slots=True, frozen=True)
class Usage:
    """What the log takes and holds, in bytes.

    Attributes:
        log: the segments that are needed.
        written: all that was ever appended, but for copies.
        lives: bodies and headers of all messages, and about what each takes beside them.
    """

    log: int
    written: int
    lives: int


class Rounds:
    """Says what to compact next. ``usage()`` is asked for only where it is needed.

    Attributes:
        postponed: little of the oldest segment lives, and that was becoming less: look again.
    """

    def __init__(self, options: LogOptions, live: LiveTable, usage: Callable[[], Usage]) -> None:
        self._options = options
        self._live = live
        self._usage = usage
        self._begun: Usage | None = None
        self._upto = 0
        self._resting: Usage | None = None
        self._seen = (0, 0)
        self._draining = False
        self.postponed = False

    def next(self) -> int | None:
        """The segment to compact; None if there is no need now."""
        live = self._live
        self.postponed = False
        segment = live.needed_from()
        there = live.live_in(segment)
        if live.newest - segment < LEFT_SEGMENTS or not there:
            return None
        little = there < self._options.compact_share * live.put_in(segment)
        if little and not self._draining:
            return segment
        self.postponed = little
        usage = self._usage()
        if not self._beyond(usage):
            self._begun = self._resting = None
            return None
        return segment if self._goes_on(segment, usage) else None

    def look(self) -> None:
        """Notice whether the oldest segment is being emptied anyway, as a queue's head is taken.

        Then there is no use in copying the little that is left of it, unless the log is too large.
        """
        segment = self._live.needed_from()
        before, self._seen = self._seen, (segment, self._live.live_in(segment))
        self._draining = before != self._seen

    def keep_spares(self, say: Callable[[bool, int], None]) -> None:
        """``say`` whether a file should be kept for copies, and what all spares may come to.

        With them the log takes a segment more than without.
        """
        live, usage = self._live, self._usage()
        keeping = live.newest - live.needed_from() >= LEFT_SEGMENTS
        say(keeping, max(0, 2 * usage.lives + 3 * self._options.segment_bytes - usage.log))

    def _beyond(self, usage: Usage) -> bool:
        """Whether the log takes too much, or will when the segment being written is full."""
        return usage.log > 2 * usage.lives + self._options.segment_bytes

    def _goes_on(self, segment: int, usage: Usage) -> bool:
        least = self._options.segment_bytes
        if self._resting is not None:
            if not _differ(self._resting, usage, max(least, usage.log // _REST_SHARE)):
                return False
            self._resting = None
        elif self._begun is not None:
            if segment < self._upto:
                return True
            gained = usage.log <= self._begun.log - least
            if not gained and not _differ(self._begun, usage, least):
                self._begun, self._resting = None, usage
                return False
        self._begun, self._upto = usage, self._live.newest
        return True


def _differ(before: Usage, now: Usage, size_bytes: int) -> bool:
    """Whether others wrote so many bytes since then, or settled half of that."""
    return now.written - before.written >= size_bytes or before.lives - now.lives >= size_bytes // 2
