"""Opening a log: the lock, the format, recovery, and the opening made durable.

All of it blocks, and is done before the loop serves.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from posthouse.errors import LogUnreadable, PosthouseError, StorageFailed, StorageFull
from posthouse.journal.absorb import Sink
from posthouse.journal.catalog import Catalog
from posthouse.journal.checkpoints import Maker
from posthouse.journal.codec import encode_payload
from posthouse.journal.directory import (
    Listing,
    check_format,
    check_new,
    check_segments,
    list_directory,
    path_in,
    take_lock,
    write_format,
)
from posthouse.journal.disk import Disk, is_full
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    checkpoint_name,
    segment_name,
    spare_name,
)
from posthouse.journal.live import LiveTable
from posthouse.journal.options import LogOptions, Roll, SealedFrame, Spare
from posthouse.journal.reader import Reader
from posthouse.journal.recovery import Recovered, Recovery, RecoveryReport, read_segment
from posthouse.journal.ring import Ring, RingReplay, read_ring
from posthouse.records import Opened, Record

__all__ = ["Log", "LogOptions", "RecoveryReport", "Roll", "SealedFrame", "Spare", "open_log"]

_REFUSED = (errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EROFS, errno.ELOOP, errno.EISDIR)


class Log:
    """An open log: what the loop side starts from.

    Attributes:
        directory: where it is.
        options: how it is kept.
        report: what opening it found.
        epoch: of this opening; grows by one each time.
        last_id: the highest message id the log knows of; 0 for none.
        disk: its segments' files, for the writer.
        ring: its attempts ring, for the loop.
        reader: reads messages back.
        unchecked: sealed segments that had no sound checkpoint when the log was opened.
        live: live messages per segment.
        spares: prewritten files.
        opened, catalog: what every new segment begins with.
        next_sequence: of the next commit group.
        oldest: the segments below are known, durably, not to be needed.
    """

    def __init__(
        self, directory: str, files: Files, options: LogOptions, report: RecoveryReport, lock: int
    ) -> None:
        self.directory = directory
        self.options = options
        self.report = report
        self.disk = Disk(files, directory, options)
        self.spares: list[Spare] = []
        self.unchecked: list[int] = []
        self.live = LiveTable(1)
        self.opened = Opened(1, 0)
        self.catalog = Catalog()
        self.next_sequence = 1
        self.oldest = 1
        self.reader = Reader(files, directory)
        self.ring = Ring(files, directory, options.ring_slots)
        self._files = files
        self._lock: int | None = lock

    @property
    def epoch(self) -> int:
        """Of this opening."""
        return self.opened.epoch

    @property
    def last_id(self) -> int:
        """The highest message id the log knows of; 0 for none."""
        return self.live.last_id

    def maker(self, number: int) -> Maker:
        """Makes the checkpoint of a sealed segment."""
        return Maker(self._files, self.directory, number)

    def catalog_records(self) -> list[Record]:
        """What a segment begins with: the last opening and every queue so far."""
        return [self.opened, *self.catalog.records()]

    def abandon(self) -> None:
        """Close the files and release the lock, once. Writes nothing."""
        lock, self._lock = self._lock, None
        try:
            self.disk.close()
        finally:
            try:
                self.ring.close()
            finally:
                # Closing a number twice could close somebody else's file.
                if lock is not None:
                    self._files.close(lock)


def open_log(
    directory: str,
    files: Files,
    options: LogOptions,
    apply: Callable[[Record], None],
    now_ns: int,
    progress: Callable[[int, int], None] | None = None,
    sink: Sink | None = None,
) -> Log:
    """Open the log in ``directory``, or make one there.

    Every record is given to ``apply`` in order, then the deliveries that only the attempts ring
    knows. The new `Opened` is durable on return and is not given to ``apply``.
    With a ``sink``, that gets what the segments come to instead, and ``apply`` nothing.
    ``progress(segments read, segments)`` is told how far recovery is.

    Raises:
        AlreadyOpen: another process, or another handle of this one, has it.
        LogUnreadable: not a log of ours, a newer format, no permission, or not a directory.
        LogDamaged: it is not what was written. Nothing was touched.
        StorageFull: there is no space to open it.
        StorageFailed: the disk failed.
    """
    try:
        files.mkdir(directory)
        log = Log(directory, files, options, RecoveryReport(), take_lock(files, directory))
        try:
            _open(log, files, apply if sink is None else sink.apply, now_ns, progress, sink)
        except BaseException:
            log.abandon()
            raise
    except OSError as error:
        raise _translated(error, directory) from error
    return log


def _translated(error: OSError, directory: str) -> PosthouseError:
    where = error.filename if isinstance(error.filename, str) else directory
    text = f"{where}: {error.strerror or error}"
    if isinstance(error, FileExistsError) or error.errno in _REFUSED:
        return LogUnreadable(text)
    if is_full(error):
        return StorageFull(text)
    return StorageFailed(text)


def _open(
    log: Log,
    files: Files,
    apply: Callable[[Record], None],
    now_ns: int,
    progress: Callable[[int, int], None] | None,
    sink: Sink | None,
) -> None:
    directory = log.directory
    listing = list_directory(files, directory)
    # What a killed process renamed may not be on disk: a segment that became a spare must not be
    # written over, nor segments be added to a log whose FORMAT file could be lost.
    files.fsync_dir(directory)
    if listing.formatted:
        check_format(files, directory)
        check_segments(listing, directory)
        replay = RingReplay(read_ring(files, directory))
        recovery = Recovery(files, directory, listing, replay, apply, log.report, progress, sink)
        recovered = recovery.run()
        log.unchecked = recovery.unchecked
        log.spares = _sound_spares(files, directory, listing)
        _tidy(log, files, listing)
        _resume(log, recovered, replay, apply, now_ns)
    else:
        check_new(listing, directory)
        _check_unused(files, directory, listing)
        log.report.fresh = True
        log.spares = _sound_spares(files, directory, listing)
        _tidy(log, files, listing)
        for number in listing.segments:
            files.unlink(path_in(directory, segment_name(number)))
            files.fsync_dir(directory)
        _create(log, files, now_ns)
    log.ring.open(log.epoch)


def _check_unused(files: Files, directory: str, listing: Listing) -> None:
    """A segment without FORMAT is what a crash left of making a log, if nobody ever used it."""
    for number in listing.segments:
        scan = read_segment(files, directory, number, None, None).scan
        if len(scan.frames) > 2 or scan.torn_bytes or scan.proof:
            raise LogUnreadable(
                f"{directory}: holds a log's segment with messages but no FORMAT file"
            )


def _sound_spares(files: Files, directory: str, listing: Listing) -> list[Spare]:
    spares: list[Spare] = []
    for number in listing.spares:
        name = spare_name(number)
        fd = files.open(path_in(directory, name))
        try:
            spares.append(Spare(name, files.size(fd)))
        finally:
            files.close(fd)
    return spares


def _tidy(log: Log, files: Files, listing: Listing) -> None:
    """Remove temporary files: a file that the log refers to has its final name."""
    for name in listing.leftovers:
        files.unlink(path_in(log.directory, name))
    for number in listing.checkpoints:
        # A crash may have come between a segment's leaving and its checkpoint's.
        if number in listing.segments:
            log.disk.checkpoints.add(number)
        else:
            files.unlink(path_in(log.directory, checkpoint_name(number)))
    for spare in log.spares:
        log.disk.note_spare(spare.name)


def first_size(options: LogOptions) -> int:
    """How much of a new segment is prewritten at first, bytes."""
    return min(options.segment_bytes, options.first_bytes)


def _create(log: Log, files: Files, now_ns: int) -> None:
    log.opened = Opened(1, now_ns)
    header = _header(log, number=1, first_sequence=1)
    spare = _take_spare(log, first_size(log.options))
    log.disk.begin(spare, header, [], 1, [_frame([log.opened], 1, 1)])
    log.next_sequence = 2
    # Last of all: a directory with a FORMAT file has a segment, or has lost it.
    write_format(files, log.directory)


def _resume(
    log: Log,
    recovered: Recovered,
    replay: RingReplay,
    apply: Callable[[Record], None],
    now_ns: int,
) -> None:
    """Make the opening durable, in the last segment or in a fresh one."""
    last, sequence = recovered.last.header, recovered.next_sequence
    log.live, log.catalog = recovered.live, recovered.catalog
    log.oldest = recovered.oldest
    log.opened = Opened(recovered.epoch + 1, now_ns)
    log.next_sequence = sequence + 1
    if recovered.append:
        log.disk.adopt(last.number, last.salt, recovered.cut_at)
        log.disk.write_all([*recovered.tail, _frame([log.opened], sequence, log.oldest)])
        return
    deliveries = replay.deliveries(recovered.epoch)
    log.report.attempts = sum(len(record.ids) for record in deliveries)
    for record in deliveries:
        apply(record)
    frames = [*recovered.tail, _frame([*deliveries, log.opened], sequence, log.oldest)]
    header = SegmentHeader(
        number=last.number + 1,
        salt=log.options.salt(),
        first_sequence=frames[0].sequence,
        previous_end=recovered.cut_at,
        previous_salt=last.salt,
        last_id=log.live.last_id,
        published=0,
        reused=False,
    )
    catalog: list[Record] = [Opened(recovered.epoch, 0), *log.catalog.records()]
    content = sum(FRAME_HEADER_BYTES + len(frame.payload) for frame in frames)
    least = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + len(encode_payload(catalog)) + content
    wanted = first_size(log.options)
    if 2 * least > wanted:
        wanted += least  # for what the program says first: declarations cannot wait for room
    spare = _take_spare(log, wanted, least)
    log.disk.begin(spare, header, catalog, log.oldest, frames)
    log.live.newest = header.number


def _header(log: Log, number: int, first_sequence: int) -> SegmentHeader:
    return SegmentHeader(
        number=number,
        salt=log.options.salt(),
        first_sequence=first_sequence,
        previous_end=0,
        previous_salt=0,
        last_id=0,
        published=0,
        reused=False,
    )


def _take_spare(log: Log, wanted: int, least: int = 0) -> Spare:
    """A spare of at least ``least`` bytes: one that is there, or a new one, as big as can be."""
    for spare in log.spares:
        if spare.size_bytes >= max(least, wanted):
            log.spares.remove(spare)
            return spare
    try:
        return log.disk.make_spare(max(least, wanted))
    except StorageFull:
        for spare in log.spares:
            if spare.size_bytes >= least:
                log.spares.remove(spare)
                return spare
        return log.disk.make_spare(least)


def _frame(records: list[Record], sequence: int, oldest: int) -> SealedFrame:
    return SealedFrame(encode_payload(records), len(records), sequence, 0, oldest)
