"""Making checkpoints of sealed segments, in the background, a slice between commits."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from posthouse.errors import LogDamaged
from posthouse.journal.checkpoint import write_checkpoint
from posthouse.journal.digest import Digest
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
from posthouse.journal.frames import Frame, read_frame

SLICE_BYTES: Final = 256 * 1024
SLICE_RECORDS: Final = 2_000
_READ_BYTES: Final = 1024 * 1024

logger = logging.getLogger("posthouse.log")


class Maker:
    """Makes one segment's checkpoint; each `step` runs in the writer."""

    def __init__(self, files: Files, directory: str, number: int) -> None:
        self._files = files
        self._directory = directory
        self._path = path_in(directory, segment_name(number))
        self.number = number
        self._header: SegmentHeader | None = None
        self._end = 0
        self._offset = SEGMENT_HEADER_BYTES
        self._sequence = 0
        self._digest = Digest(number, 0)
        self._data = b""
        self._start = 0

    def step(self) -> bool:
        """Read one slice; True when the checkpoint is written.

        Raises:
            LogDamaged: the segment is not what was written.
            OSError: the disk failed, or is full.
        """
        if self._header is None:
            self._header = self._read_header(self.number)
            self._end = self._read_header(self.number + 1).previous_end
            self._sequence = self._digest.next_sequence = self._header.first_sequence
            return False
        begin = self._offset
        records = 0
        fd = self._files.open(self._path)
        try:
            while (
                self._offset < self._end
                and self._offset - begin < SLICE_BYTES
                and records < SLICE_RECORDS
            ):
                frame = self._next(fd, self._header)
                records += frame.header.count
                self._digest.take(self._path, self._data, [frame], self._start)
                self._offset += frame.end - frame.offset
        finally:
            self._files.close(fd)
        if self._offset < self._end:
            return False
        write_checkpoint(self._files, self._directory, self._digest, self._header, self._end)
        return True

    def _read_header(self, number: int) -> SegmentHeader:
        path = path_in(self._directory, segment_name(number))
        fd = self._files.open(path)
        try:
            header = SegmentHeader.unpack(self._files.pread(fd, SEGMENT_HEADER_BYTES, 0))
        finally:
            self._files.close(fd)
        if header is None or header.number != number:
            raise LogDamaged(path, 0, "the segment's header is damaged")
        return header

    def _next(self, fd: int, segment: SegmentHeader) -> Frame:
        """The frame at the offset, as it stands in the buffer."""
        seed, left = seed_of(segment.salt), self._end - self._offset
        at = self._offset - self._start
        header = unpack_frame_header(self._data, at, seed)
        whole = 0 if header is None else FRAME_HEADER_BYTES + header.length
        if header is None or at + whole > len(self._data):
            self._fill(fd, min(max(whole, _READ_BYTES), left))
            header = unpack_frame_header(self._data, 0, seed)
            if header is not None and FRAME_HEADER_BYTES + header.length > len(self._data):
                self._fill(fd, min(FRAME_HEADER_BYTES + header.length, left))
            at = 0
        frame = read_frame(self._data, at, len(self._data), seed)
        catalog = self._offset == SEGMENT_HEADER_BYTES
        if frame is None or frame.header.sequence != self._sequence:
            raise LogDamaged(self._path, self._offset, "there is no sound frame")
        if not catalog:
            self._sequence += 1
        return frame

    def _fill(self, fd: int, size: int) -> None:
        self._data = self._files.pread(fd, size, self._offset)
        self._start = self._offset


class Checkpoints:
    """Has checkpoints made, one segment at a time; on the loop.

    ``maker(number)`` begins one, ``submit(job, done)`` is the writer's, ``made(number)`` is called
    in the writer when it is there: so whoever takes its segment out knows of it.
    """

    def __init__(
        self,
        numbers: list[int],
        *,
        maker: Callable[[int], Maker],
        submit: Callable[[Callable[[], Any], Callable[[Any, BaseException | None], None]], None],
        made: Callable[[int], None],
    ) -> None:
        self._waiting = deque(numbers)
        self._make = maker
        self._submit = submit
        self._made = made
        self._maker: Maker | None = None
        self._stopped = False

    def sealed(self, number: int) -> None:
        """A segment is full, and another one has begun."""
        self._waiting.append(number)
        self.work()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped = True

    def work(self) -> None:
        """Go on, if nothing is under way."""
        if self._maker is None and self._waiting and not self._stopped:
            self._maker = self._make(self._waiting.popleft())
            self._submit(partial(self._step, self._maker), self._stepped)

    def _step(self, maker: Maker) -> bool:
        whole = maker.step()
        if whole:
            self._made(maker.number)
        return whole

    def _stepped(self, whole: bool | None, error: BaseException | None) -> None:
        maker, self._maker = self._maker, None
        if maker is None or self._stopped:
            return
        if error is None and not whole:
            self._maker = maker
            self._submit(partial(self._step, maker), self._stepped)
            return
        if error is not None and not isinstance(error, FileNotFoundError):
            # The log is what counts: the next opening reads the segment instead.
            logger.warning("segment %d has no checkpoint: %s", maker.number, error)
        self.work()
