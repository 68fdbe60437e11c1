"""What recovery makes of a segment: a decision table.

Each row has its physical cause; the rows are tried in order. ``tests/journal`` walks every
combination of the findings.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


class Verdict(enum.Enum):
    """What to do with a segment."""

    SOUND = "sound: all of it is there"
    APPEND = "append: closed cleanly, go on writing behind it"
    CUT = "cut: it ends here; go on in a fresh segment"
    REFUSE = "refuse: what was acknowledged is damaged; touch nothing"


@dataclass(slots=True, frozen=True)
class Findings:
    """What a scan of one segment found.

    Attributes:
        sealed: a segment follows, whose header says where this one ends.
        whole: the sound frames reach to that end exactly.
        catalog: the first frame is a sound catalog.
        gap: the sound frames are followed by one with the wrong sequence.
        proven: a frame behind the stop, or the segment's header, says that bytes at the stop
            had been synced.
        followed: there are sound frames behind the stop, though none says so.
        closed: the last sound frame before the stop is that of a clean close.
        torn: at the stop stands what looks like a part of a frame of this segment.
    """

    sealed: bool
    whole: bool
    catalog: bool
    gap: bool
    proven: bool
    followed: bool
    closed: bool
    torn: bool


_TABLE: Final[tuple[tuple[Callable[[Findings], bool], Verdict, str], ...]] = (
    (
        lambda found: not found.catalog,
        Verdict.REFUSE,
        # A segment gets its name only when header and catalog are on disk.
        "the segment does not begin with a sound catalog",
    ),
    (
        lambda found: found.gap,
        Verdict.REFUSE,
        # One writer numbers the groups; no crash can reorder or skip them.
        "the next frame is sound but has another sequence: frames are missing or foreign",
    ),
    (
        lambda found: found.sealed and not found.whole,
        Verdict.REFUSE,
        # The next segment was begun only when all of this one was on disk.
        "a frame before the segment's end is damaged",
    ),
    (lambda found: found.sealed, Verdict.SOUND, "sealed and whole"),
    (
        lambda found: found.proven,
        Verdict.REFUSE,
        # Rot: a later frame was written when these bytes were known to be on disk.
        "a frame is damaged that is known to have been on disk",
    ),
    (
        lambda found: found.closed and not found.torn and not found.followed,
        Verdict.APPEND,
        "closed cleanly",
    ),
    (
        lambda found: True,
        Verdict.CUT,
        # A crash: the last group is missing, or there in part, or whole in the page cache only.
        "not closed cleanly",
    ),
)


def judge(found: Findings) -> tuple[Verdict, str]:
    """The verdict on a segment, and why."""
    return next((verdict, why) for holds, verdict, why in _TABLE if holds(found))
