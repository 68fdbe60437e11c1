"""The rows and their goals."""

from __future__ import annotations

from bench import depth, ours, sqlite, threads
from bench.busy import Busy, computing_task, computing_thread
from bench.model import Contender, Row, Target
from bench.references import disk, peers, queues, stores

COMMITTED = "on disk before put returns"
NOTHING = "none (memory)"


def _memory() -> list[Row]:
    batches = Contender("posthouse put_many/get_many/ack_many", NOTHING, ours.memory_batches)
    return [
        Row(
            "M1",
            "memory, 1 producer and 1 consumer, bounded 1,000, put, get and ack awaited singly",
            "messages/s",
            Contender("posthouse", NOTHING, ours.memory_single),
            (
                Target(queues.ASYNCIO, goal=0.5, floor=0.25),
                Target(queues.CULSANS, floor=1.0),
                Target(queues.JANUS, floor=1.0),
            ),
        ),
        Row(
            "M2",
            "memory, batches of 100",
            "messages/s",
            batches,
            (Target(queues.ASYNCIO, goal=1.5, floor=0.8),),
        ),
        Row(
            "M3",
            "memory, async for with ack",
            "messages/s",
            Contender("posthouse async for", NOTHING, ours.memory_iterated),
            (Target(batches, goal=0.6),),
        ),
    ]


def _stores(size: int) -> tuple[Target, ...]:
    return (
        Target(stores.lmdb(size, leased=True), goal=2.0),
        Target(stores.lmdb(size, leased=False)),
        Target(stores.sqlite(size, leased=True), goal=5.0),
        Target(stores.sqlite(size, leased=False)),
    )


def _sqlite_single(goal: float | None) -> tuple[Target, ...]:
    return (
        Target(stores.sqlite(1, leased=True), goal=goal),
        Target(stores.sqlite(1, leased=False)),
    )


def _log_rates() -> list[Row]:
    others = tuple(
        Target(peer, goal=50.0) for peer in (peers.PERSIST_QUEUE, peers.HUEY, peers.LITEQUEUE)
    )
    return [
        Row(
            "D1",
            "log, 1,000 producer tasks each awaiting its put, 1 consumer taking and acking batches",
            "messages/s",
            Contender("posthouse", COMMITTED, ours.log_many_producers),
            (Target(disk.CEILING, goal=0.5, floor=0.3),),
        ),
        Row(
            "D2 (100)",
            "log, batches of 100, 1 producer and 1 consumer, put + get + ack",
            "messages/s",
            Contender("posthouse", COMMITTED, ours.log_batches_of_100),
            _stores(100) + others,
        ),
        Row(
            "D2 (1,000)",
            "log, batches of 1,000, 1 producer and 1 consumer, put + get + ack",
            "messages/s",
            Contender("posthouse", COMMITTED, ours.log_batches_of_1000),
            _stores(1_000) + others,
        ),
    ]


def _log_latency() -> list[Row]:
    return [
        Row(
            "D3 (idle)",
            "log, one awaited put at a time, p50",
            "us",
            Contender("posthouse", COMMITTED, ours.log_put),
            (Target(disk.THREADED, goal=0.8), Target(disk.INLINE), Target(disk.PREWRITTEN)),
        ),
        *_log_latency_beside(),
        Row(
            "D3 (cycle)",
            "log, put + get + ack one at a time",
            "messages/s",
            Contender("posthouse", COMMITTED, ours.log_cycle),
            _sqlite_single(2.0),
        ),
        Row(
            "D3 (durable cycle)",
            "the same with ack(durable=True)",
            "messages/s",
            Contender("posthouse", COMMITTED + ", and the ack too", ours.log_durable_cycle),
            _sqlite_single(None),
        ),
    ]


def _log_latency_beside() -> list[Row]:
    rows = []
    somebody: tuple[tuple[str, Busy, str], ...] = (
        ("task", computing_task, "a task of the same loop that computes in slices of 1 ms"),
        ("thread", computing_thread, "a thread of the same process that never stops computing"),
    )
    for name, busy, what in somebody:
        for shown, share in (("p50", 0.5), ("p99", 0.99)):
            threaded, inline = disk.beside(busy, share)
            work = ours.log_put_beside(busy, share)
            rows.append(
                Row(
                    f"D3 ({name}, {shown})",
                    f"log, one awaited put at a time, {shown}, beside {what}",
                    "us",
                    Contender("posthouse", COMMITTED, work),
                    (Target(None, goal=6_000.0), Target(threaded), Target(inline)),
                )
            )
    return rows


def _threads() -> list[Row]:
    batches = Contender("posthouse.sync put_many", NOTHING, threads.batches)
    single = Contender("posthouse.sync put", NOTHING, threads.single)
    return [
        Row(
            "S1 (100)",
            "memory, bounded 1,000: a thread puts batches of 100, the loop takes and acks batches",
            "messages/s",
            batches,
            (Target(threads.JANUS, goal=1.0),),
        ),
        Row(
            "S1 (one)",
            "the same, put one at a time",
            "messages/s",
            single,
            (Target(threads.JANUS),),
        ),
    ]


def all_rows() -> list[Row]:
    """Every row, in the order of the table."""
    return [*_memory(), *_log_rates(), *_log_latency(), *depth.rows(), *_threads(), *sqlite.rows()]
