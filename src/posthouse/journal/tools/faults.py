"""What can be wrong with a log: each kind with what it means and what to do."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

_REPAIR: Final = (
    "restore a backup ('posthouse log restore'), or salvage the rest into a new directory with "
    "'posthouse log repair'"
)


class Kind(enum.Enum):
    """The kinds of faults; the value is what it means."""

    FORMAT_MISSING = "the directory does not open: without it nobody can tell what it holds"
    FORMAT_FOREIGN = "the directory does not open: the file says what it holds"
    SEGMENT_MISSING = "all messages and settlements of this segment are gone"
    HEADER = "where the segment belongs is not known from itself"
    CHAIN = "this segment was not written after the one before it: they are of different logs"
    CATALOG = "the segment does not begin as every segment does"
    FRAME = "bytes that were on disk have changed; the groups in them are lost"
    SHORT = "the file was cut after it was written; the groups beyond are lost"
    SEQUENCE = "groups that were written are not there, or others stand in their place"
    RECORD = "the bytes are as they were written, but they are no records of this version"
    COPY = "this copy of a backup changed after it was written: the backup cannot be restored"
    UNDECLARED = "records name a queue that was never declared"
    CHECKPOINT = "an opening believes it, and would deliver what it says, not what the segment says"

    @property
    def remedy(self) -> str:
        """What to do."""
        if self is Kind.COPY:
            return "remove the file, and run 'posthouse log backup' again while the log is there"
        if self is Kind.CHECKPOINT:
            return "close the log and remove the file: the next opening reads the segment instead"
        if self is Kind.RECORD or self is Kind.UNDECLARED:
            return "please report it: no disk does this; " + _REPAIR
        return _REPAIR


@dataclass(slots=True, frozen=True)
class Fault:
    """One place where a log is not what was written.

    Attributes:
        kind: what kind of fault.
        file: the file's name in the directory.
        offset: where in it, in bytes.
        end: where it ends; None where that is not known.
        what: what was found.
        first_group, last_group: the groups that are missing there; 0 where that is not known.
    """

    kind: Kind
    file: str
    offset: int
    end: int | None
    what: str
    first_group: int = 0
    last_group: int = 0

    @property
    def groups(self) -> str:
        """The missing groups in words; "" where none is known to be."""
        if not self.first_group or self.last_group < self.first_group:
            return ""
        if self.first_group == self.last_group:
            return f"group {self.first_group}"
        return f"groups {self.first_group} to {self.last_group}"

    def __str__(self) -> str:
        place = f"{self.file}: offset {self.offset}"
        if self.end is not None and self.end > self.offset:
            place += f" to {self.end}"
        lost = f" ({self.groups})" if self.groups else ""
        return f"{place}: {self.what}{lost}"
