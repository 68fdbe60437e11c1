"""Logs that earlier versions wrote are read as they were meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

import posthouse.records
from posthouse.journal.format import FORMAT_VERSION
from posthouse.records import Opened, Put, Record
from tests.journal.goldens import GOLDEN, RECORDS, covers, files_of, make, read_log, shown
from tests.journal.logs import Bench, live_messages, open_records, salts, small_options

LOGS = sorted(path for path in GOLDEN.glob("v*/*") if path.is_dir())


def _expected(directory: Path) -> list[dict[str, Any]]:
    text = directory.with_name(f"{directory.name}.{RECORDS}").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_there_are_logs_of_this_version() -> None:
    names = {path.name for path in LOGS if path.parent.name == f"v{FORMAT_VERSION}"}
    assert names == {"closed", "crashed"}
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 100_000


def test_they_have_every_kind_of_record() -> None:
    kinds = {kind.__name__ for kind in _record_types()}
    seen = {
        line["record"]
        for path in LOGS
        if path.parent.name == f"v{FORMAT_VERSION}"
        for line in _expected(path)
    }
    assert seen == kinds


def _record_types() -> tuple[type, ...]:
    # The alias is a text, as its parts have no common name at run time.
    return get_args(eval(str(Record), vars(posthouse.records)))


@pytest.mark.parametrize("directory", LOGS, ids=[f"{p.parent.name}-{p.name}" for p in LOGS])
def test_its_records_are_what_was_written(directory: Path) -> None:
    log, records = read_log(directory)
    found, expected = [shown(record) for record in records], _expected(directory)
    for one, other in zip(found, expected, strict=True):
        assert covers(one, other), f"{one}\nis not\n{other}"
    closed = directory.name == "closed"
    assert log.report.clean is closed
    assert (log.report.truncated_bytes > 0) is not closed
    assert (log.report.attempts > 0) is not closed
    assert log.live.total == len(live_messages(records))
    log.abandon()


@pytest.mark.parametrize("directory", LOGS, ids=[f"{p.parent.name}-{p.name}" for p in LOGS])
async def test_it_is_gone_on_with(directory: Path) -> None:
    files = files_of(directory)
    bench = Bench(files, small_options(salt=salts(99)))
    before = live_messages(bench.records)
    more = await bench.put_many(3, b"more")
    bench.journal.settle_many(1, [next(iter(before))])
    await bench.journal.close()
    log, records = open_records(files, small_options(salt=salts(199)))
    assert list(live_messages(records)) == [*list(before)[1:], *more]
    assert log.epoch == bench.log.epoch + 1
    log.abandon()


def test_what_does_not_cover_is_seen() -> None:
    record = shown(Put(1, 2, 3, [(4, 5, b"body", b"", None)]))
    assert covers(record | {"new": 1}, record)
    assert not covers(record | {"queue": 9}, record)
    assert not covers(record | {"entries": []}, record)
    assert not covers(shown(Opened(1, 2)), record)


def test_logs_are_never_made_again(tmp_path: Path) -> None:
    make(tmp_path / "v1")
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert written
    with pytest.raises(FileExistsError):
        make(tmp_path / "v1")
    assert {path: path.read_bytes() for path in written} == written
