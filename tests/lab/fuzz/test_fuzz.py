"""The decoders of the log, fed with damage."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from random import Random

import pytest

from posthouse.journal import codec
from posthouse.journal.codec import decode_payload, encode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.format import RECORD_HEADER, SegmentHeader
from posthouse.journal.frames import Frame, Scan
from posthouse.records import Settled
from posthouse.testing.simdisk import SimDisk
from tests.lab.fuzz import recovery, targets
from tests.lab.fuzz.corpus import draw_segment
from tests.lab.fuzz.mutate import MOST_GROWTH, mutate
from tests.lab.fuzz.run import run_target
from tests.lab.process.budget import LabLike


@pytest.mark.parametrize("target", sorted(targets.TARGETS))
def test_fuzz(lab: LabLike, target: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="posthouse")
    seconds = lab.seconds("fuzz") / len(targets.TARGETS)
    lab.count("fuzz", run_target(target, lab.seed_base, seconds), "inputs")


def test_a_failure_says_how_to_replay_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def third_fails(random: Random) -> Iterator[None]:
        yield
        yield
        raise KeyError("surprise")

    monkeypatch.setitem(targets.TARGETS, "planted", third_fails)
    with pytest.raises(AssertionError, match="--target planted --seed 7 --count 3"):
        run_target("planted", 7, 60.0)


def test_mutations_change_things_and_stay_small() -> None:
    random = Random(1)
    sound = bytes(range(200))
    changed = [mutate(sound, random) for _ in range(2000)]
    assert sum(data != sound for data in changed) > 1900
    assert max(map(len, changed)) <= len(sound) + 4 * MOST_GROWTH
    assert min(map(len, changed)) >= 1
    assert {mutate(b"", random)} == {b"\0"}


def test_the_segment_target_notices_a_frame_that_nobody_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if the checksum of a payload were not looked at."""
    read = targets.scan

    def careless(data: bytes, limit: int, header: SegmentHeader) -> Scan:
        found = read(data, limit, header)
        if len(found.frames) > 1 and limit == len(data):
            last = found.frames[-1]
            found.frames[-1] = Frame(last.offset - 8, last.header)
        return found

    monkeypatch.setattr(targets, "scan", careless)
    sound = next(iter_segments())
    header = SegmentHeader.unpack(sound)
    assert header is not None
    written = {targets.place(sound, frame) for frame in read(sound, len(sound), header).frames}
    with pytest.raises(AssertionError):
        targets.check_segment(sound, header, written, len(sound))


def iter_segments() -> Iterator[bytes]:
    random = Random(3)
    while True:
        yield draw_segment(random)


def test_the_recovery_target_notices_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="posthouse")
    image = recovery.draw_log(Random(1))
    held = recovery.live_messages(SimDisk(image))
    assert held
    recovery.check_recovery(image, held, both=False)
    with pytest.raises(AssertionError):
        recovery.check_recovery(image, {**held, 1: b"lost"}, both=False)


def test_nested_bytes_do_not_exhaust_the_stack() -> None:
    # Traits with one field more than there are: an array in an array in an array.
    traits = b"\x98\0\0\xc4\0\xa0\0\0\xa0" + b"\x91" * 100_000 + b"\0"
    fields = struct.pack("<IIQ", 1, 2, 3) + traits
    data = RECORD_HEADER.pack(codec.TYPE_MOVED, 0, 0, len(fields)) + fields
    with pytest.raises(BadRecord, match="recursion"):
        decode_payload(data, 0, len(data), 1)


def test_a_run_over_the_limit_is_written_as_what_can_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(codec, "MAX_RUN", 4)
    for count in (4, 5, 9):
        record = Settled(1, list(range(10, 10 + count)))
        payload = encode_payload([record])
        assert decode_payload(payload, 0, len(payload), 1) == [record]
