"""Checkpoints: made in the background, believed only where they fit, and never missed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.backends.log import LogBackend
from posthouse.core.producers import FIRST_PRODUCER
from posthouse.errors import LogDamaged
from posthouse.journal.checkpoint import decode_checkpoint, encode_checkpoint
from posthouse.journal.checkpoints import Checkpoints
from posthouse.journal.format import SegmentHeader
from posthouse.journal.log import LogOptions
from posthouse.records import Accepted
from posthouse.testing.cases.base import soon
from tests.journal.rebuilding import Image, image_of, rebuilt, replayed

SMALL: dict[str, Any] = {"segment_bytes": 65536, "compact_bytes_s": 0}
OPTIONS = LogOptions(**SMALL)


async def _busy(directory: Path) -> None:
    """Fill several segments with everything that a log may hold."""
    backend = LogBackend(str(directory), OPTIONS)
    async with posthouse.Broker("simulated", backend) as broker:
        session = backend.session
        session.port("named", {})
        told_again = Accepted(FIRST_PRODUCER, [10_000, 20_000], [5, 1], [1, 7])
        session.engine.journal.append(told_again)
        plain = broker.queue("plain", retry=posthouse.Retry(max_attempts=2))
        keyed = broker.queue("keyed")
        await plain.bind(broker.topic("t"))
        await broker.queue("other").bind(broker.topic("t"))
        for number in range(40):
            await plain.put_many([b"%d-%d" % (number, each) + b"x" * 100 for each in range(50)])
            await keyed.put(b"k" * 300, key=f"k{number % 3}", dedup=f"d{number}")
            await plain.put(b"later" + b"z" * 500, delay=3600)
            outside = session.named_port("named", FIRST_PRODUCER + number % 3, 2 * number + 1)
            outside.put_many(1, [b"outside", b"too"])
            await broker.topic("t").publish(b"both")
            taken = await soon(plain.get_many(30))
            await plain.ack_many(taken[:20])
            await taken[20].nack(delay=3600 if number % 2 else 0)
            await taken[21].reject("no good")
            await taken[22].give_back()
            await taken[23].nack()
        await _has_checkpoints(directory)


async def _has_checkpoints(directory: Path) -> None:
    async with asyncio.timeout(20):
        while True:
            sealed = sorted(directory.glob("*.seg"))[:-1]
            if sealed and all(path.with_suffix(".ckp").exists() for path in sealed):
                return
            await asyncio.sleep(0)


@pytest.fixture
async def image(tmp_path: Path) -> Image:
    await _busy(tmp_path / "data")
    return image_of(tmp_path / "data")


def _now(image: Image) -> int:
    return int(replayed(image, OPTIONS, 1).state[1])


def _checkpoints(image: Image) -> list[str]:
    return [path for path in image if path.endswith(".ckp")]


async def test_an_opening_by_checkpoints_is_an_opening_by_all_records(image: Image) -> None:
    now = _now(image)
    expected = replayed(image, OPTIONS, now)
    by_checkpoints = rebuilt(image, OPTIONS, now)
    without = {path: data for path, data in image.items() if not path.endswith(".ckp")}
    by_segments = rebuilt(without, OPTIONS, now)
    assert len(_checkpoints(image)) >= 3
    assert (by_checkpoints.read, by_segments.read) == (0, len(_checkpoints(image)))
    assert by_checkpoints.state == by_segments.state == expected.state
    for opened in (by_checkpoints, by_segments):
        assert opened.log.live.total == expected.log.live.total
        assert opened.log.live.needed_from() == expected.log.live.needed_from()
        assert opened.log.last_id == expected.log.last_id
        assert opened.log.report.records == expected.log.report.records
        assert opened.log.report.frames == expected.log.report.frames


async def test_a_checkpoint_that_is_damaged_anywhere_is_not_believed(image: Image) -> None:
    now = _now(image)
    expected = rebuilt(image, OPTIONS, now).state
    path = _checkpoints(image)[1]
    data = image[path]
    damaged = [data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :] for at in _sample(data)]
    damaged += [data[:at] for at in _sample(data)] + [data + b"\0", b""]
    for each in damaged:
        opened = rebuilt(image | {path: each}, OPTIONS, now)
        assert opened.read == 1
        assert opened.state == expected


def _sample(data: bytes) -> list[int]:
    step = max(1, len(data) // 60)
    return [*range(32), *range(32, len(data), step), len(data) - 1]


async def test_a_checkpoint_of_another_segment_is_not_believed(image: Image) -> None:
    now = _now(image)
    expected = rebuilt(image, OPTIONS, now).state
    first, second, *_ = _checkpoints(image)
    opened = rebuilt(image | {first: image[second], second: image[first]}, OPTIONS, now)
    assert opened.read == 2
    assert opened.state == expected


async def test_a_checkpoint_of_another_life_of_the_number_is_not_believed(image: Image) -> None:
    """Everything in it is sound, but for the salt, the end or the first group of the segment."""
    path = _checkpoints(image)[0]
    segment = image[path.replace(".ckp", ".seg")]
    header = SegmentHeader.unpack(segment)
    following = SegmentHeader.unpack(image[_checkpoints(image)[1].replace(".ckp", ".seg")])
    assert header is not None
    assert following is not None
    end = following.previous_end
    digest = decode_checkpoint(image[path], header, end)
    assert digest is not None
    assert encode_checkpoint(digest, header, end) == image[path]
    other = SegmentHeader(
        header.number, header.salt + 1, header.first_sequence, 0, 0, 0, 0, reused=False
    )
    assert decode_checkpoint(encode_checkpoint(digest, other, end), header, end) is None
    assert decode_checkpoint(encode_checkpoint(digest, header, end - 8), header, end) is None
    later = SegmentHeader(
        header.number, header.salt, header.first_sequence + 1, 0, 0, 0, 0, reused=False
    )
    assert decode_checkpoint(encode_checkpoint(digest, later, end), header, end) is None


@pytest.mark.parametrize("what", ["all that is told", "due times", "frames", "keys"])
async def test_a_checkpoint_whose_columns_do_not_fit_together_is_not_believed(
    image: Image, what: str
) -> None:
    """Its checksum holds: it was written so."""
    now = _now(image)
    expected = rebuilt(image, OPTIONS, now).state
    path, following = _checkpoints(image)[0], _checkpoints(image)[1]
    header = SegmentHeader.unpack(image[path.replace(".ckp", ".seg")])
    after = SegmentHeader.unpack(image[following.replace(".ckp", ".seg")])
    assert header is not None
    assert after is not None
    digest = decode_checkpoint(image[path], header, after.previous_end)
    assert digest is not None
    columns = next(each for each in digest.columns.values() if each.told is not None)
    assert columns.told is not None
    forged = {
        "all that is told": columns.told.arrays(),
        "due times": [columns.told.due_ns],
        "frames": [columns.frames],
        "keys": [columns.told.keyed],
    }[what]
    for column in forged:
        if what != "all that is told":
            column[0] = 1 - min(column[0], 1)  # not all the same, which has no length
        column.pop()
    data = encode_checkpoint(digest, header, after.previous_end)
    assert decode_checkpoint(data, header, after.previous_end) is None
    opened = rebuilt(image | {path: data}, OPTIONS, now)
    assert opened.read == 1
    assert opened.state == expected


async def test_without_its_checkpoint_damage_in_a_segment_is_seen(image: Image) -> None:
    now = _now(image)
    path = _checkpoints(image)[0]
    segment = path.replace(".ckp", ".seg")
    data = bytearray(image[segment])
    data[len(data) // 2] ^= 1
    spoiled = image | {segment: bytes(data)}
    del spoiled[path]
    with pytest.raises(LogDamaged, match=segment.split("/")[1]):
        rebuilt(spoiled, OPTIONS, now)


async def test_damage_in_a_message_is_seen_when_it_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with posthouse.open(str(directory), **SMALL) as broker:
        for number in range(40):
            await broker.queue("q").put_many([b"%d" % number + b"x" * 100] * 50)
        await _has_checkpoints(directory)
    first = directory / "00000001.seg"
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)
    broker = await posthouse.open(str(directory), **SMALL)
    with pytest.raises(posthouse.StorageFailed, match=r"reading the log failed .*00000001\.seg"):
        for _ in range(40):
            await soon(broker.queue("q").get_many(50))
    with pytest.raises(posthouse.StorageFailed):
        await broker.close()


async def test_checkpoints_leave_with_their_segments_and_leftovers_are_removed(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "data"
    async with posthouse.open(str(directory), **SMALL) as broker:
        queue = broker.queue("q")
        for _ in range(30):
            await queue.put_many([b"x" * 100] * 50)
        await _has_checkpoints(directory)
        for _ in range(30):
            await queue.ack_many(await soon(queue.get_many(50)))
        await queue.put(b"one more")
    kept = {path.stem for path in directory.glob("*.seg")}
    stale = directory / "00000001.ckp"
    assert "00000001" not in kept
    assert {path.stem for path in directory.glob("*.ckp")} <= kept
    stale.write_bytes(b"of a segment that is gone")
    (directory / "00000002.ckp.tmp").write_bytes(b"begun")
    async with posthouse.open(str(directory), **SMALL) as broker:
        assert (await soon(broker.queue("q").get())).body == b"one more"
    assert not stale.exists()
    assert not list(directory.glob("*.tmp"))


async def test_ids_go_on_when_all_that_had_them_is_gone(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with posthouse.open(str(directory), **SMALL) as broker:
        queue = broker.queue("q")
        number = int(await queue.put(b"the only one"), 16)
        while not (directory / "00000003.seg").exists():
            await queue.find("id > 0").delay(0)
        await (await soon(queue.get())).ack(durable=True)
        async with asyncio.timeout(20):
            while (directory / "00000001.seg").exists() or (directory / "00000002.seg").exists():
                await asyncio.sleep(0.01)
        image = image_of(directory)
    assert replayed(image, OPTIONS, 1).log.last_id >= number
    assert rebuilt(image, OPTIONS, 1).log.last_id >= number


def test_whoever_removes_a_segment_knows_of_its_checkpoint() -> None:
    """In the writer, where both are done: not a turn of the loop later."""

    class Made:
        number = 3

        def step(self) -> bool:
            return True

    known: list[int] = []
    jobs: list[Any] = []
    checkpoints = Checkpoints(
        [],
        maker=lambda number: Made(),  # type: ignore[arg-type,return-value]
        submit=lambda job, done: jobs.append(job),
        made=known.append,
    )
    checkpoints.sealed(3)
    assert known == []
    (job,) = jobs
    assert job()
    assert known == [3]
