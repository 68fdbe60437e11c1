"""Checkpoints that do not hold: each kind is named by `check` and `repair`, and hurts nothing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import posthouse
from posthouse.journal.checkpoint import decode_checkpoint, encode_checkpoint
from posthouse.journal.digest import Digest, Ranges
from posthouse.journal.files import RealFiles
from posthouse.journal.format import CHECKPOINT_MAGIC, SegmentHeader
from posthouse.journal.log import LogOptions
from posthouse.journal.tools.backup import backup_log
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.faults import Kind
from posthouse.journal.tools.repair import repair_log
from posthouse.journal.tools.restore import restore_backup
from tests.journal.logs import SMALL
from tests.journal.rebuilding import Image, image_of, rebuilt, replayed
from tests.journal.tools.made import OPTIONS, READING, content, make_checkpointed_log, segments

LOG_OPTIONS = LogOptions(segment_bytes=SMALL)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("checkpointed") / "log"
    asyncio.run(make_checkpointed_log(directory))
    return directory


@pytest.fixture
def log(made_once: Path, tmp_path: Path) -> Path:
    """A sound log with checkpoints, to be damaged."""
    shutil.copytree(made_once, tmp_path / "log")
    return tmp_path / "log"


def _headers(log: Path) -> list[SegmentHeader]:
    headers = [SegmentHeader.unpack((log / name).read_bytes()[:256]) for name in segments(log)]
    return [header for header in headers if header is not None]


def _digest(log: Path, number: int) -> tuple[Digest, SegmentHeader, int]:
    headers = {header.number: header for header in _headers(log)}
    end = headers[number + 1].previous_end
    data = (log / f"{number:08}.ckp").read_bytes()
    digest = decode_checkpoint(data, headers[number], end)
    assert digest is not None
    return digest, headers[number], end


def _state(image: Image) -> object:
    now = replayed(image, LOG_OPTIONS, 1).state[1]
    return rebuilt(image, LOG_OPTIONS, now).state


def _sealed(log: Path) -> list[str]:
    return sorted(path.name for path in log.glob("*.ckp"))


def test_checkpoints_that_hold_are_counted(log: Path) -> None:
    before = content(log)
    report = check_log(READING, str(log))
    assert report.sound
    assert report.notes == []
    assert report.checkpoints == len(_sealed(log)) == len(segments(log)) - 1 >= 3
    assert content(log) == before


def _no_bytes(data: bytes) -> bytes:
    return b""


def _cut(data: bytes) -> bytes:
    return data[:-1]


def _flipped(data: bytes) -> bytes:
    return data[:40] + bytes([data[40] ^ 1]) + data[41:]


def _other_version(data: bytes) -> bytes:
    assert data.startswith(CHECKPOINT_MAGIC)
    return data[:8] + b"\x63" + data[9:]


@pytest.mark.parametrize("harm", [_no_bytes, _cut, _flipped, _other_version])
def test_one_that_is_damaged_is_named_and_no_damage_of_the_log(
    log: Path, harm: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    sound = image_of(log)
    path = log / _sealed(log)[1]
    path.write_bytes(harm(path.read_bytes()))
    report = check_log(READING, str(log))
    assert report.sound
    assert report.checkpoints == len(_sealed(log)) - 1
    (note,) = report.notes
    assert path.name in note
    assert "damaged" in note
    assert "the segment is read" in note
    assert _state(image_of(log)) == _state(sound)
    repaired = repair_log(RealFiles(), str(log), str(tmp_path / "new"), 1, reading=READING)
    assert repaired.faults == []
    assert path.name in repaired.checkpoints[0]
    assert path.name in (tmp_path / "new" / "repair-report.txt").read_text()


def test_one_of_another_segment_is_named(log: Path) -> None:
    first, second, *_ = _sealed(log)
    shutil.copy(log / second, log / first)
    report = check_log(READING, str(log))
    assert report.sound
    (note,) = report.notes
    assert first in note
    assert f"of segment {int(second[:8])}" in note


def test_one_whose_segment_is_gone_is_named_and_removed_by_an_opening(log: Path) -> None:
    shutil.copy(log / _sealed(log)[0], log / "00000777.ckp")
    report = check_log(READING, str(log))
    assert report.sound
    (note,) = report.notes
    assert "00000777.ckp: there is no 00000777.seg" in note

    async def open_and_close() -> None:
        async with posthouse.open(str(log), **OPTIONS):
            pass

    asyncio.run(open_and_close())
    assert not (log / "00000777.ckp").exists()


def test_one_of_the_segment_that_is_being_written_is_named(log: Path) -> None:
    newest = segments(log)[-1].replace(".seg", ".ckp")
    shutil.copy(log / _sealed(log)[0], log / newest)
    report = check_log(READING, str(log))
    assert report.sound
    (note,) = report.notes
    assert f"{newest}: its segment is still being written" in note


def test_one_that_is_believed_and_says_something_else_is_a_fault(log: Path, tmp_path: Path) -> None:
    sound = image_of(log)
    digest, header, end = _digest(log, int(_sealed(log)[1][:8]))
    (columns, *_) = digest.columns.values()
    queue, _ = next(iter(digest.columns))
    forged = digest.settled.setdefault(queue, Ranges())
    forged.add(columns.firsts[-1], columns.firsts[-1])
    path = log / f"{header.number:08}.ckp"
    path.write_bytes(encode_checkpoint(digest, header, end))
    assert _state(image_of(log)) != _state(sound)  # an opening does believe it
    report = check_log(READING, str(log))
    (fault,) = report.faults
    assert fault.kind is Kind.CHECKPOINT
    assert fault.file == path.name
    assert fault.what.endswith("segment: settled")
    assert "remove the file" in fault.kind.remedy
    # As the remedy says: without it the log is what it was.
    target = tmp_path / "new"
    repaired = repair_log(RealFiles(), str(log), str(target), 1, reading=READING)
    assert repaired.faults == []
    assert path.name in repaired.checkpoints[0]
    assert not list(target.glob("*.ckp"))
    path.unlink()
    assert check_log(READING, str(log)).sound
    assert _state(image_of(log)) == _state(sound)


def test_a_sound_one_beside_a_damaged_segment_hides_the_damage_and_is_named(log: Path) -> None:
    name = segments(log)[1]
    data = bytearray((log / name).read_bytes())
    data[5000] ^= 1
    (log / name).write_bytes(data)
    report = check_log(READING, str(log))
    assert [fault.file for fault in report.faults] == [name]
    (note,) = report.notes
    assert name.replace(".seg", ".ckp") in note
    assert "which is damaged" in note
    assert report.checkpoints == len(_sealed(log)) - 1


@pytest.mark.parametrize("harm", [_no_bytes, _flipped])
def test_a_backup_neither_takes_them_along_nor_minds_them(
    log: Path, harm: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    sound = image_of(log)
    for name in _sealed(log):
        (log / name).write_bytes(harm((log / name).read_bytes()))
    backup, restored = str(tmp_path / "backup"), tmp_path / "restored"
    backup_log(RealFiles(), str(log), backup, 1, reading=READING)
    restore_backup(RealFiles(), backup, str(restored))
    assert _sealed(restored) == []
    assert _state(image_of(restored)) == _state(sound)


async def test_a_log_in_use_has_none_that_does_not_hold(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with posthouse.open(str(log), **OPTIONS) as broker:
        queue = broker.queue("q")
        found = 0
        for _ in range(60):
            await queue.put_many(["x" * 500] * 20)
            await queue.ack_many(await queue.get_many(19))
            report = check_log(READING, str(log))
            assert report.sound
            named = [note for note in report.notes if ".ckp:" in note]
            assert [note for note in named if "just being removed" not in note] == []
            found += report.checkpoints
        assert found
    assert check_log(READING, str(log)).notes == []
