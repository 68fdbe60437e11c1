"""What outlives its segment: declarations, bindings, dedup ids."""

from __future__ import annotations

from collections.abc import Callable

from posthouse.journal.catalog import Catalog
from posthouse.journal.codec import size_bound
from posthouse.model import QueuePolicy
from posthouse.records import Bound, Declared, Record, Remembered
from tests.journal.logs import Bench, declared, open_records, salts, small_options
from tests.journal.memory import MemoryFiles


def _kept(records: list[Record]) -> list[Record]:
    return [record for record in records if isinstance(record, (Declared, Bound))]


async def _until_it_is_gone(bench: Bench, number: int) -> None:
    """Put and settle until a segment has left the log."""
    while bench.log.live.oldest <= number:
        ids = await bench.put_many(10, b"x" * 500)
        await bench.journal.flush()
        bench.journal.settle_many(1, ids)
        await bench.journal.flush()
        await bench.turn(6)


def test_the_catalog_has_what_is_in_force_and_queues_first() -> None:
    catalog = Catalog()
    kept = Bound("news", 2, "sport.#", True)
    again = Bound("news", 1, "#", True)
    newer = Declared(1, "orders", QueuePolicy(max_messages=5))
    history: list[Declared | Bound] = [
        declared(1, "orders"),
        Bound("news", 1, "#", True),
        kept,
        Bound("news", 1, "#", False),
        declared(2, "mail"),
        Bound("news", 2, "never bound", False),
        newer,
        kept,
        again,
    ]
    for record in history:
        catalog.note(record)
        assert catalog.size_bytes == sum(map(size_bound, catalog.records()))
    assert catalog.records() == [newer, declared(2, "mail"), kept, again]


async def test_bindings_outlive_their_segments() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    stays = Bound("news", 2, "#", True)
    goes = Bound("news", 1, "tea.*", True)
    bench.journal.append(declared(1, "orders"), goes)
    bench.journal.append(declared(2, "mail"), stays)
    await _until_it_is_gone(bench, 1)
    ends = Bound("news", 1, "tea.*", False)
    bench.journal.append(ends)
    await bench.journal.flush()
    # The one that ended is still in the catalog of the oldest segment, and its end behind it.
    copy = files.copy()
    log, records = open_records(copy, small_options(salt=salts(9)))
    assert _kept(records) == [declared(1, "orders"), declared(2, "mail"), goes, stays, ends]
    assert _kept(log.catalog_records()) == [declared(1, "orders"), declared(2, "mail"), stays]
    log.abandon()
    await _until_it_is_gone(bench, bench.log.disk.number)
    for close in (True, False):
        if close:
            await bench.journal.close()
        else:
            bench.crash()
        bench = Bench(files, small_options(salt=salts(20 + close)))
        expected = [declared(1, "orders"), declared(2, "mail"), stays]
        assert _kept(bench.records) == expected
        assert _kept(bench.log.catalog_records()) == expected
    bench.crash()


class Dedups:
    """Dedup ids with their messages' ids, as the engine would carry them."""

    def __init__(self) -> None:
        self.known: dict[int, str] = {}
        self.calls: list[int] = []

    def carry(self, first_id: int) -> list[Record]:
        self.calls.append(first_id)
        ids = [message_id for message_id in sorted(self.known) if message_id < first_id]
        return [Remembered(1, [self.known[key] for key in ids], ids)] if ids else []


def _remembered(records: list[Record]) -> dict[int, str]:
    return {
        message_id: dedup
        for record in records
        if isinstance(record, Remembered)
        for message_id, dedup in zip(record.ids, record.dedups, strict=True)
    }


async def test_dedup_ids_outlive_their_segments() -> None:
    files = MemoryFiles()
    dedups = Dedups()
    bench = Bench(files, carry=dedups.carry)
    first = await bench.put()
    dedups.known[first] = "r-1"
    bench.journal.settle(1, first)
    await bench.journal.flush()
    for _ in range(3):
        # Each time the segment that repeats it goes as well.
        await _until_it_is_gone(bench, bench.log.disk.number)
        copy = files.copy()
        log, records = open_records(copy, small_options(salt=salts(9)))
        assert _remembered(records) == {first: "r-1"}
        log.abandon()
    assert dedups.calls == sorted(dedups.calls)
    await bench.journal.close()
    bench = Bench(files, carry=dedups.carry)
    assert _remembered(bench.records) == {first: "r-1"}
    await _until_it_is_gone(bench, bench.log.disk.number)
    bench.crash()
    assert _remembered(open_records(files)[1]) == {first: "r-1"}


async def test_no_segment_goes_before_what_it_must_leave_behind_is_on_disk() -> None:
    """At each moment the log has the dedup id: with its message, or remembered."""
    files = MemoryFiles()
    dedups = Dedups()
    missing: list[int] = []
    bench = Bench(files, carry=dedups.carry, call_soon=None)
    first = await bench.put()
    dedups.known[first] = "r-1"
    bench.journal.settle(1, first)
    await bench.journal.flush()
    look = _looker(files, first, missing)
    for turn in range(60):
        ids = await bench.put_many(10, b"x" * 500)
        look(turn)
        await bench.turn()
        look(turn)
        bench.journal.settle_many(1, ids)
        await bench.journal.flush()
        look(turn)
    assert bench.log.live.oldest > 4
    assert missing == []
    bench.crash()


def _looker(files: MemoryFiles, first: int, missing: list[int]) -> Callable[[int], None]:
    def look(turn: int) -> None:
        log, records = open_records(files.copy(), small_options(salt=salts(1000 + turn)))
        oldest = min(name for name in files.listdir("data") if name.endswith(".seg"))
        if oldest != "00000001.seg" and first not in _remembered(records):
            missing.append(turn)
        log.abandon()

    return look


async def test_a_full_log_keeps_its_segments_rather_than_forget() -> None:
    files = MemoryFiles()
    bench = Bench(
        files, carry=lambda first_id: [Remembered(1, ["x" * 200] * 5000, list(range(1, 5001)))]
    )
    for _ in range(30):
        ids = await bench.put_many(10, b"x" * 500)
        await bench.journal.flush()
        bench.journal.settle_many(1, ids)
    await bench.journal.flush()
    await bench.turn(6)
    assert bench.log.disk.number > 2
    assert bench.log.live.oldest == 1
    bench.crash()
