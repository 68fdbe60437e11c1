"""Checkpoints beside the segments that they are of: whether each says what its segment says.

An opening reads a segment whose checkpoint it cannot believe, so one that is damaged, old or of
another log costs time and nothing else. One that it does believe and that says something else than
the segment changes what is delivered: that is a fault.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Final

from posthouse.errors import LogDamaged
from posthouse.journal.checkpoint import decode_checkpoint
from posthouse.journal.digest import Digest
from posthouse.journal.directory import list_directory, path_in
from posthouse.journal.files import Files
from posthouse.journal.format import SegmentHeader, checkpoint_name, segment_name
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.survey import Surveyed

_NOT_USED: Final = "it is not used, and the segment is read"


@dataclass(slots=True)
class Compared:
    """What was found of the checkpoints.

    Attributes:
        sound: how many say what their segments say.
        faults: those that an opening believes, and that say something else.
        notes: those that an opening does not believe, each with why.
    """

    sound: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Comparing:
    """Looks at the checkpoints while the segments go by: `segment` for each, then `finish`."""

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._directory = directory
        self._found = Compared()
        self._seen: set[int] = set()
        self._sealed: dict[int, tuple[SegmentHeader, int]] = {}
        self._doubtful: dict[int, bytes] = {}

    def segment(self, found: Surveyed) -> None:
        """Compare this segment's checkpoint, if it has one."""
        if found.header is None or found.end is None:
            return
        number = found.number
        self._seen.add(number)
        self._sealed[number] = found.header, found.end
        data = self._read(number)
        if data is None:
            return
        digest = decode_checkpoint(data, found.header, found.end)
        if digest is None:
            self._doubtful[number] = data
        elif found.faults:
            self._found.notes.append(
                f"{checkpoint_name(number)}: sound, so an opening does not read its segment, "
                "which is damaged: that shows only when what is lost is wanted"
            )
        elif differing := _differing(found, found.header, digest):
            what = f"it says something else than its segment: {', '.join(differing)}"
            name = checkpoint_name(number)
            self._found.faults.append(Fault(Kind.CHECKPOINT, name, 0, None, what))
        else:
            self._found.sound += 1

    def finish(self) -> Compared:
        """What was found; of what could not be compared, why."""
        notes = self._found.notes
        for number, data in sorted(self._doubtful.items()):
            notes.append(f"{checkpoint_name(number)}: {self._doubt(number, data)}; {_NOT_USED}")
        listing = list_directory(self._files, self._directory)
        for number in sorted(listing.checkpoints):
            if number in self._seen:
                continue
            if number not in listing.segments:
                notes.append(
                    f"{checkpoint_name(number)}: there is no {segment_name(number)}: it is just "
                    "being removed, or a crash left it, and the next opening removes it"
                )
            elif number == listing.segments[-1]:
                notes.append(
                    f"{checkpoint_name(number)}: its segment is still being written, so it cannot "
                    f"be of it; {_NOT_USED}"
                )
        return self._found

    def _read(self, number: int) -> bytes | None:
        try:
            fd = self._files.open(path_in(self._directory, checkpoint_name(number)))
        except FileNotFoundError:
            return None
        try:
            return self._files.pread(fd, self._files.size(fd), 0)
        finally:
            self._files.close(fd)

    def _doubt(self, number: int, data: bytes) -> str:
        for other, (header, end) in self._sealed.items():
            if other != number and decode_checkpoint(data, header, end) is not None:
                return f"it is of segment {other}"
        return "it is damaged, of another version, or of another log's segment"


def _differing(found: Surveyed, header: SegmentHeader, digest: Digest) -> list[str]:
    """What the checkpoint of a sound segment has otherwise than that."""
    if found.salvage is None:
        return []
    made = Digest(found.number, header.first_sequence)
    try:
        made.take(found.name, found.data, found.salvage.frames)
    except LogDamaged:
        return []  # the records themselves are at fault, and named
    names = [each.name for each in dataclasses.fields(Digest)]
    return [name for name in names if getattr(made, name) != getattr(digest, name)]
