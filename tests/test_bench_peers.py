"""The harness that compares servers, tried on a fake one: no server is installed here."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

import posthouse
from bench.peers import page
from bench.peers.cli import chosen, rows_of
from bench.peers.clients.beanstalkd import Lines
from bench.peers.clients.posthouse import Client as OurClient
from bench.peers.fake import Fake
from bench.peers.flushes import countable, device_of, flushes
from bench.peers.harness import Results, run, scratch_directory
from bench.peers.model import Contender, Measured, Mode, Row, Settings
from bench.peers.packages import Kit, NotToBeHad, run_installer
from bench.peers.registry import PEERS
from bench.peers.rows import ROWS
from bench.peers.server import Server, ServerFailed
from bench.peers.turn import TurnFailed, measured_of
from bench.peers.work import Mark, Report

BATCHES, TASKS, SINGLY, PACED = ROWS


def _settings(base: Path, patience_s: float = 60.0) -> Settings:
    return Settings(0.05, 1, size_bytes=64, loop="asyncio", base=base, patience_s=patience_s)


def _run(
    peers: list[Fake], ours: Fake | None, rows: list[Row], base: Path, patience_s: float = 60.0
) -> Results:
    said: list[str] = []
    settings = _settings(base, patience_s)
    return run(peers, ours, rows, settings, Kit(base, said.append), said.append)


def test_every_row_is_measured_and_nothing_is_left_behind(tmp_path: Path) -> None:
    peer = Fake("")
    results = _run([peer], None, list(ROWS), tmp_path)
    assert results.errors == {}
    assert {row for row, _contender in results.values} == {row.name for row in ROWS}
    for (measured,) in results.values.values():
        assert measured.value > 0
        assert measured.messages > 0
    assert list(tmp_path.iterdir()) == []
    assert [server.process_ids for server in peer.servers] == [[]]


@pytest.mark.parametrize(
    ("trick", "error"),
    [
        ("double", r"TurnFailed: \S+ messages were put and \S+ were got"),
        ("die", r"(Server|Turn)Failed: .*(status 3|closed|reset|Incomplete|Broken)"),
    ],
)
def test_a_failing_peer_is_told_and_the_others_go_on(
    tmp_path: Path, trick: str, error: str
) -> None:
    results = _run([Fake(trick, "")], None, [BATCHES], tmp_path)
    (failed,) = results.errors.items()
    assert failed[0] == ("N1", f"fake, {trick}")
    assert re.search(error, failed[1])
    assert [contender for _row, contender in results.values] == ["fake"]
    assert list(tmp_path.iterdir()) == []


def test_a_lost_message_is_told(tmp_path: Path) -> None:
    results = _run([Fake("lose")], None, [BATCHES], tmp_path, patience_s=3.0)
    assert results.errors == {
        ("N1", "fake, lose"): "TurnFailed: gave up: the consumer did not come to its end"
    }
    assert list(tmp_path.iterdir()) == []


def test_who_cannot_be_had_is_not_measured(tmp_path: Path) -> None:
    results = _run([Fake("", missing="no such package")], Fake(""), [BATCHES], tmp_path)
    assert results.missing == {"fake": "no such package"}
    text = page.markdown([BATCHES], results, {"cores": "2"}, _settings(tmp_path))
    assert "- fake: no such package" in text
    assert results.values


def test_a_server_that_ends_at_once_is_told_with_its_last_words(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.run(["sh", "-c", "echo no room here >&2; exit 7"])
    with pytest.raises(ServerFailed, match="status 7; it wrote: no room here"):
        server.wait_until_open()


def test_a_stopped_server_takes_its_children_along(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    server = Server(tmp_path)
    # The child, who has the pipe too, takes no notice of what stops the shell.
    child = "(trap '' TERM; echo here >&9; exec sleep 600)"
    server.run(["sh", "-c", f"exec 9>pipe; {child} & wait"])
    with (tmp_path / "pipe").open() as pipe:
        assert pipe.readline() == "here\n"
        server.stop()
        assert pipe.read() == ""  # comes when nobody has it open any more


def test_an_installer_s_last_words_have_no_address() -> None:
    with pytest.raises(NotToBeHad, match=r"^sh: could not get \(an address\) today$"):
        run_installer(["sh", "-c", "echo could not get http" + "://registry.test/x today; exit 1"])


class _Nowhere(asyncio.Transport):
    """Takes what is written."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """It is gone."""


@pytest.mark.parametrize("piece_bytes", [1, 2, 7, 1_000])
async def test_answers_of_beanstalkd_come_in_any_pieces(piece_bytes: int) -> None:
    lines = Lines()
    lines.connection_made(_Nowhere())
    waiting = [lines.send(b"x") for _ in range(4)]
    data = b"INSERTED 7\r\nRESERVED 7 4\r\na\r\nb\r\nTIMED_OUT\r\nRESERVED 8 0\r\n\r\n"
    for at in range(0, len(data), piece_bytes):
        lines.data_received(data[at : at + piece_bytes])
    assert [await answer for answer in waiting] == [
        ([b"INSERTED", b"7"], b""),
        ([b"RESERVED", b"7", b"4"], b"a\r\nb"),
        ([b"TIMED_OUT"], b""),
        ([b"RESERVED", b"8", b"0"], b""),
    ]


async def test_nobody_waits_for_a_server_that_has_gone() -> None:
    lines = Lines()
    lines.connection_made(_Nowhere())
    waiting = lines.send(b"x")
    lines.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await waiting


async def test_our_client_puts_takes_and_settles() -> None:
    async with posthouse.open("memory:") as broker:
        queue = broker.queue("bench")
        client = OurClient(broker, queue)
        await client.put(b"1")
        await client.put_many([b"2", b"3"])
        assert await client.take(2) == [b"1", b"2"]
        await client.settle()
        assert await client.take(2) == [b"3"]
        await client.settle()
        stats = await queue.stats()
        assert (stats.waiting, stats.in_flight) == (0, 0)


# ---------------------------------------------------------------- arithmetic and verdicts


def _report(messages: int, started_ns: int, ended_ns: int, p50_us: float | None = None) -> Report:
    started, ended = Mark(started_ns, 10), Mark(ended_ns, 10 + messages // 100)
    return Report(messages, started, ended, p50_us)


def test_a_flow_lasts_until_all_is_settled() -> None:
    sent, got = _report(1_000, 0, 10**9), _report(1_000, 5, 2 * 10**9)
    assert measured_of(BATCHES, sent, got) == Measured(500.0, 1_000, 10)
    assert measured_of(TASKS, sent, got) == Measured(1_000.0, 1_000, 10)
    assert measured_of(BATCHES, sent, got).flushes_per_1000 == 10.0


def test_waits_are_the_producer_s_or_the_consumer_s() -> None:
    sent, got = _report(10, 0, 1, p50_us=3.0), _report(10, 0, 1, p50_us=7.0)
    assert measured_of(SINGLY, sent, got).value == 3.0
    assert measured_of(PACED, sent, got).value == 7.0


def test_nothing_put_is_no_result() -> None:
    with pytest.raises(TurnFailed, match="nothing was put"):
        measured_of(BATCHES, _report(0, 0, 1), _report(0, 0, 1))


def _results(ours: float, synced: float, unsynced: float, row: Row) -> Results:
    peer = Fake("")
    contenders = [
        Contender(peer, Mode("ours", "", syncs=True), ours=True),
        Contender(peer, Mode("synced", "", syncs=True)),
        Contender(peer, Mode("unsynced", "", syncs=False)),
    ]
    values = zip(contenders, (ours, synced, unsynced), strict=True)
    return Results(
        contenders,
        values={(row.name, c.name): [Measured(value, 1, None)] for c, value in values},
    )


@pytest.mark.parametrize(("ours", "result"), [(400.0, "met"), (399.0, "missed")])
def test_a_rate_is_held_against_the_best_of_all(ours: float, result: str) -> None:
    assert page.verdict(BATCHES, _results(ours, 100.0, 200.0, BATCHES)) == (
        f"{ours / 200:.2f}",
        result,
    )


@pytest.mark.parametrize(("ours", "result"), [(300.0, "met"), (301.0, "missed")])
def test_a_wait_is_held_against_the_best_that_syncs(ours: float, result: str) -> None:
    assert page.verdict(SINGLY, _results(ours, 300.0, 20.0, SINGLY))[1] == result


def test_who_syncs_must_be_seen_to(tmp_path: Path) -> None:
    results = _results(300.0, 100.0, 200.0, SINGLY)
    synced = results.contenders[1]
    assert page.best_of(SINGLY, results) == (synced, 100.0)
    results.values[SINGLY.name, synced.name] = [Measured(100.0, 1_000, 499)]
    assert page.syncs(synced, results) is None
    assert page.best_of(SINGLY, results) is None
    assert "NOT SEEN" in page.markdown([SINGLY], results, {}, _settings(tmp_path))
    results.values[SINGLY.name, synced.name] = [Measured(100.0, 1_000, 500)]
    assert page.syncs(synced, results)
    assert page.syncs(results.contenders[2], results) is False


def test_a_failed_row_has_no_result() -> None:
    results = _results(500.0, 100.0, 200.0, BATCHES)
    results.errors["N1", "fake, ours"] = "TurnFailed: lost"
    assert page.verdict(BATCHES, results) == ("-", "no result")
    assert "failed" in page.markdown([BATCHES], results, {}, _settings(Path()))


# ---------------------------------------------------------------- the device


def test_flushes_are_read_from_the_kernel_s_columns(tmp_path: Path) -> None:
    stats = tmp_path / "diskstats"
    columns = " ".join(str(number) for number in range(1, 18))
    stats.write_text(f" 254 1 vda1 {columns}\n 254 0 vda {columns}\n 7 0 loop0 1 2 3\n")
    assert flushes("254:0", stats) == 16
    assert flushes("7:0", stats) is None
    assert flushes("9:9", stats) is None
    assert flushes(None, stats) is None
    assert flushes("254:0", tmp_path / "missing") is None


def test_a_device_that_does_not_count_is_not_believed(tmp_path: Path) -> None:
    stats = tmp_path / "diskstats"
    columns = " ".join(str(number) for number in range(1, 18))
    stats.write_text(f"{(device_of(tmp_path) or '0:0').replace(':', ' ')} vda {columns}\n")
    assert countable(tmp_path, stats) is None
    assert list(tmp_path.iterdir()) == [stats]


def test_a_partition_is_counted_with_its_device(tmp_path: Path) -> None:
    status = os.stat(tmp_path)
    name = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
    blocks = tmp_path / "blocks"
    partition = tmp_path / "vda" / "vda1"
    partition.mkdir(parents=True)
    blocks.mkdir()
    assert device_of(tmp_path, blocks) is None
    (blocks / name).symlink_to(partition)
    assert device_of(tmp_path, blocks) == name
    (partition / "partition").write_text("1\n")
    (tmp_path / "vda" / "dev").write_text("254:0\n")
    assert device_of(tmp_path, blocks) == "254:0"


# ---------------------------------------------------------------- the command line


def test_names_on_the_command_line() -> None:
    assert [peer.name for peer in chosen("nats, Valkey", PEERS)] == ["valkey", "nats"]
    with pytest.raises(SystemExit, match="no such peer: kafka; there are: valkey, nats"):
        chosen("kafka", PEERS)
    assert [row.name for row in rows_of("n3")] == ["N3 (put)", "N3 (delivery)"]
    assert rows_of("") == list(ROWS)
    with pytest.raises(SystemExit, match="no such row: N9"):
        rows_of("N9,N1")


def test_others_may_pass_through_the_scratch_directory(tmp_path: Path) -> None:
    with scratch_directory(tmp_path, "x-") as path:
        assert path.stat().st_mode & 0o777 == 0o711
    assert not path.exists()
