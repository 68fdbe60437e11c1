"""Messages read back from segments, by their place. Blocks; in the writer, or before the loop.

A segment that is read has messages that wait, so it is there; what is read is checked like at an
opening: the frame's header, its checksum, and that the record is what the place says.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from posthouse.errors import LogDamaged
from posthouse.journal.brief import decode_put_at
from posthouse.journal.columns import BadRecord
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    seed_of,
    segment_name,
    unpack_frame_header,
)
from posthouse.journal.frames import read_frame
from posthouse.records import Entry, Put

_LEAST_BYTES: Final = 16 * 1024
_MOST_BYTES: Final = 1024 * 1024


class Reader:
    """Reads messages of a log's segments."""

    def __init__(self, files: Files, directory: str) -> None:
        self._files = files
        self._directory = directory

    def read(
        self, queue: int, segment: int, runs: Iterable[tuple[int, int, int, int]]
    ) -> list[Entry]:
        """The messages of these runs: (first id, how many, frame's offset, record's offset).

        Raises:
            LogDamaged: they are not there.
            OSError: the disk failed.
        """
        wanted = list(runs)
        if not wanted:
            return []
        file = _SegmentFile(self._files, path_in(self._directory, segment_name(segment)), segment)
        try:
            span = wanted[-1][2] - wanted[0][2] + _LEAST_BYTES
            return self._read(file, queue, wanted, min(max(span, _LEAST_BYTES), _MOST_BYTES))
        finally:
            file.close()

    @staticmethod
    def _read(
        file: _SegmentFile, queue: int, wanted: list[tuple[int, int, int, int]], ahead: int
    ) -> list[Entry]:
        entries: list[Entry] = []
        for offset, runs in groupby(wanted, key=lambda run: run[2]):
            payload = file.payload(offset, ahead)
            at, put = -1, None
            for first, count, _, record in runs:
                if put is None or record != at:
                    at, put = record, file.put_at(payload, offset, record)
                start = first - put.entries[0][0]
                found = put.entries[start : start + count] if start >= 0 else []
                if put.queue != queue or len(found) != count:
                    raise LogDamaged(file.path, offset, "it does not have the messages it should")
                entries += found
        return entries


class _SegmentFile:
    """One segment, open for reading."""

    def __init__(self, files: Files, path: str, number: int) -> None:
        self._files = files
        self.path = path
        try:
            self._fd = files.open(path)
        except FileNotFoundError as error:
            raise LogDamaged(path, 0, "the segment is missing") from error
        try:
            header = SegmentHeader.unpack(files.pread(self._fd, SEGMENT_HEADER_BYTES, 0))
            if header is None or header.number != number:
                raise LogDamaged(path, 0, "the segment's header is damaged")
        except BaseException:
            files.close(self._fd)
            raise
        self._seed = seed_of(header.salt)
        self._data = b""
        self._start = 0

    def close(self) -> None:
        """Close the file."""
        self._files.close(self._fd)

    def payload(self, offset: int, ahead: int) -> bytes:
        """The payload of the frame at ``offset``; so much is read at once if need be.

        Raises:
            LogDamaged: there is no sound frame.
        """
        at = offset - self._start
        header = unpack_frame_header(self._data, at, self._seed) if at >= 0 else None
        if header is None or at + FRAME_HEADER_BYTES + header.length > len(self._data):
            whole = 0 if header is None else FRAME_HEADER_BYTES + header.length
            self._fill(offset, max(ahead, whole))
            at = 0
            header = unpack_frame_header(self._data, 0, self._seed)
            if header is not None and FRAME_HEADER_BYTES + header.length > len(self._data):
                self._fill(offset, FRAME_HEADER_BYTES + header.length)
        frame = read_frame(self._data, at, len(self._data), self._seed)
        if frame is None:
            raise LogDamaged(self.path, offset, "the frame there is damaged")
        return self._data[frame.start : frame.end]

    def _fill(self, offset: int, size: int) -> None:
        self._data = self._files.pread(self._fd, size, offset)
        self._start = offset

    def put_at(self, payload: bytes, offset: int, record: int) -> Put:
        """The put at an offset of a frame's payload. Raises LogDamaged."""
        try:
            return decode_put_at(payload, record)
        except BadRecord as error:
            raise LogDamaged(self.path, offset, str(error)) from error
