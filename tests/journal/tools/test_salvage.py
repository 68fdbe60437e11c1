"""Sound frames behind damage, and what must not be taken for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from posthouse.journal.codec import encode_payload
from posthouse.journal.format import FLAG_CATALOG, SEGMENT_HEADER_BYTES, seed_of
from posthouse.journal.frames import build_frame
from posthouse.journal.options import SealedFrame
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.salvage import salvage
from posthouse.records import Closed, Put, Record
from tests.journal.logs import entries
from tests.journal.tools.made import READING, Group, Harm
from tests.journal.tools.test_repair import repair

SEED = seed_of(77)
Made = tuple[Path, list[str], list[Group]]


def frame(sequence: int, body: bytes = b"", flags: int = 0, at: int = 0, seed: int = SEED) -> bytes:
    put = Put(1, 7, 0, entries(sequence * 100, 1, body or b"-"))
    records: list[Record] = [put] if body else [Closed(sequence)]
    payload = encode_payload(records)
    return build_frame(SealedFrame(payload, 1, sequence, flags, 1), seed, at) + payload


def segment(*frames: bytes) -> bytes:
    return bytes(SEGMENT_HEADER_BYTES) + b"".join(frames)


def taken(data: bytes, least: int = 5, most: int | None = None) -> list[int]:
    return [each.header.sequence for each in salvage(data, len(data), SEED, least, most).frames]


CATALOG = frame(5, flags=FLAG_CATALOG)


def test_all_of_a_sound_segment() -> None:
    data = segment(CATALOG, frame(5), frame(6), frame(7))
    found = salvage(data, len(data), SEED, 5, None)
    assert found.holes == []
    assert (found.stop, found.expected) == (len(data), 8)


def test_a_body_that_holds_frames_is_not_read_as_frames() -> None:
    """Somebody put a part of this very segment into a message."""
    older = frame(6)
    body = b"1234" + b"".join(bytes(shift) + older for shift in range(8)) * 2
    for damage in (0, 10, 60):  # its magic, its header, its payload
        outer = bytearray(frame(7, body))
        outer[damage] ^= 1
        assert taken(segment(CATALOG, frame(5), older, bytes(outer), frame(8))) == [5, 5, 6, 8]


def test_an_earlier_life_of_the_file_is_not_read() -> None:
    stale = frame(3, seed=seed_of(66)) + frame(4, seed=seed_of(66))
    assert taken(segment(CATALOG, frame(5), stale, frame(6))) == [5, 5, 6]


def test_a_group_of_the_next_segment_is_not_read() -> None:
    assert taken(segment(CATALOG, frame(5), frame(9)), most=9) == [5, 5]


def test_missing_groups_are_named() -> None:
    data = segment(CATALOG, frame(5), frame(8))
    (hole,) = salvage(data, len(data), SEED, 5, None).holes
    assert (hole.start, hole.end, hole.first, hole.last) == (data.rindex(frame(8)),) * 2 + (6, 7)


def test_a_second_catalog_is_none() -> None:
    assert taken(segment(CATALOG, frame(5), frame(6, flags=FLAG_CATALOG), frame(6))) == [5, 5, 6]


def test_frames_that_moved_are_saved(made: Made, harm: Callable[[], Harm], tmp_path: Path) -> None:
    """Bytes in the middle of a file are gone, and all behind them stand nearer."""
    for number, name in enumerate(("00000002.seg", made[2][-1].segment)):
        group = [each for each in made[2] if each.segment == name and not each.catalog][2]
        directory = harm().directory
        data = bytearray((directory / name).read_bytes())
        del data[group.start : group.end]
        (directory / name).write_bytes(data)
        assert not check_log(READING, str(directory)).sound
        report = repair(directory, tmp_path / f"new-{number}")
        groups = sum(not each.catalog for each in made[2])
        assert report.groups == groups - 1
        assert group.sequence in [loss.fault.first_group for loss in report.losses]
