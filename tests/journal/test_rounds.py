"""When compaction has need, and that it comes to an end."""

from __future__ import annotations

from posthouse.journal.live import LiveTable
from posthouse.journal.options import LogOptions
from posthouse.journal.rounds import Rounds, Usage

SEGMENT = 1 << 16


class _Log:
    """A log whose segments have these live messages, one byte each or as many as are said."""

    def __init__(self, *counts: int) -> None:
        self.live = LiveTable(1)
        for number, count in enumerate(counts, 1):
            self.live.put(number, 1000 * number, count)
        self.written = 0
        self.lives = 0
        self.asked = 0
        self.rounds = Rounds(LogOptions(segment_bytes=SEGMENT), self.live, self.usage)

    def usage(self) -> Usage:
        self.asked += 1
        log = (self.live.newest + 1 - self.live.needed_from()) * SEGMENT
        return Usage(log, self.written, self.lives)

    def copy(self, segment: int, into: int) -> None:
        """All that lives in a segment is written again."""
        first = 1000 * segment
        count = self.live.live_in(segment)
        self.live.carry(into, first, count)
        while self.live.oldest < self.live.needed_from():
            self.live.forget_oldest()


def test_the_newest_two_segments_are_left_alone() -> None:
    log = _Log(1, 1)
    log.live.settle([1000])
    assert log.rounds.next() is None
    log.live.settle([2000])
    assert log.rounds.next() is None
    assert log.asked == 0


def test_a_segment_of_which_little_lives_is_compacted_whatever_the_log_takes() -> None:
    log = _Log(100, 100, 100)
    log.lives = 1 << 30
    assert log.rounds.next() is None
    log.live.settle_range(1000, 1075)
    assert log.rounds.next() == 1


def test_a_segment_that_is_being_emptied_is_left_alone_while_the_log_is_within_its_bound() -> None:
    log = _Log(100, 100, 100)
    log.lives = 1 << 30
    log.live.settle_range(1000, 1079)
    log.rounds.look()
    assert log.rounds.next() is None
    postponed = log.rounds.postponed
    assert postponed
    log.live.settle([1080])
    log.rounds.look()
    assert log.rounds.next() is None
    log.rounds.look()  # nothing more was taken from it
    assert log.rounds.next() == 1
    postponed = log.rounds.postponed
    assert not postponed
    log.live.settle([1081])
    log.rounds.look()
    assert log.rounds.next() is None
    log.lives = 0
    assert log.rounds.next() == 1


def test_a_log_within_its_bound_is_left_alone() -> None:
    log = _Log(*[10] * 9)
    log.lives = 4 * SEGMENT
    assert log.rounds.next() is None
    log.lives -= 1
    assert log.rounds.next() == 1


def test_a_round_that_gains_goes_on_and_ends_within_the_bound() -> None:
    log = _Log(*[10] * 9)
    log.lives = 3 * SEGMENT
    newest = 9
    for copied in range(1, 9):
        assert log.rounds.next() == copied
        newest += copied % 3 == 0  # three go into one
        log.copy(copied, newest)
        if log.rounds.next() is None:
            break
    assert log.usage().log <= 2 * log.lives + SEGMENT


def test_a_round_that_gains_nothing_is_the_last_until_others_are_at_work() -> None:
    log = _Log(*[1] * 40)
    log.lives = 40 * (SEGMENT // 2 - 2000)
    copies = 0
    while (segment := log.rounds.next()) is not None:
        copies += 1
        assert copies < 100, "it never comes to an end"
        log.live.settle([1000 * segment] if segment <= 40 else [])
        log.live.put(log.live.newest + 1, 1000 * (log.live.newest + 1), 1)  # each takes a segment
    assert 38 <= copies <= 41
    least = 40 * SEGMENT // 8
    log.written += least - 1
    assert log.rounds.next() is None
    log.written += 1
    assert log.rounds.next() is not None


def test_what_others_settle_ends_the_rest() -> None:
    log = _Log(*[1] * 4)
    log.lives = SEGMENT
    first = log.rounds.next()
    assert first == 1
    for segment in (1, 2, 3):
        log.live.carry(segment + 4, 1000 * segment, 1)
    assert log.live.needed_from() == 4  # the round is over, and the log as large as before
    log.live.settle([4000])
    log.live.put(8, 8000, 1)
    assert log.rounds.next() is None
    log.lives -= SEGMENT // 2
    assert log.rounds.next() == 5


def test_what_others_put_during_a_round_gives_another_one() -> None:
    log = _Log(*[1] * 4)
    log.lives = SEGMENT
    assert log.rounds.next() == 1
    for segment in (1, 2, 3, 4):
        log.live.carry(segment + 4, 1000 * segment, 1)
    log.written += SEGMENT
    assert log.rounds.next() == 5
    for segment in (1, 2, 3, 4):
        log.live.carry(segment + 8, 1000 * segment, 1)
    assert log.rounds.next() is None
