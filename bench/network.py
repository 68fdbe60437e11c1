"""Rows N1 to N4, our side: ``python -m bench.network``. The peers are in `bench.peers`.

The server, the producer and the consumer are three processes. The parent only starts them and
reads one line of JSON from each client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import posthouse
from bench.measure import fresh_directory, loop_factory

DATA = Path(__file__).resolve().parent.parent / ".bench"
BODY = b"x" * 1024
BOUND = 50_000
END = b"end"
IDLE = 5_000


@contextmanager
def server(directory: Path, loop: str, *options: str) -> Iterator[tuple[str, int]]:
    """A durable server of its own process: its URL and its pid."""
    command = [sys.executable, "-m", "posthouse", "serve", str(directory), "--loop", loop]
    command += ["--listen", "tcp://127.0.0.1:0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        line = process.stdout.readline().decode()
        yield line.removeprefix("listening at ").strip(), process.pid
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@contextmanager
def client(role: str, url: str, seconds: float, loop: str, size: int) -> Iterator[Any]:
    """A producer or consumer process."""
    command = [sys.executable, "-m", "bench.network", "--role", role, "--url", url]
    command += ["--seconds", str(seconds), "--loop", loop, "--size", str(size)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def answer_of(process: Any) -> dict[str, float]:
    """What a client says at its end."""
    out: dict[str, float] = json.loads(process.stdout.readline())
    return out


# the clients


async def produce_batches(url: str, seconds: float, size: int) -> dict[str, float]:
    """N1's producer: batches, one after the other."""
    async with posthouse.open(url) as broker:
        queue = broker.queue("bench", max_messages=BOUND)
        bodies = [BODY] * size
        sent, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            await queue.put_many(bodies)
            sent += size
        await queue.put(END)
        return {"sent": sent, "began": began}


async def produce_singly(url: str, seconds: float, size: int) -> dict[str, float]:
    """N2's producer: ``size`` tasks, each awaiting its put."""
    async with posthouse.open(url) as broker:
        queue = broker.queue("bench", max_messages=BOUND)
        sent, began = 0, time.perf_counter()

        async def work() -> None:
            nonlocal sent
            while time.perf_counter() - began < seconds:
                await queue.put(BODY)
                sent += 1

        await asyncio.gather(*[work() for _ in range(size)])
        await queue.put(END)
        return {"sent": sent, "began": began}


async def produce_one(url: str, seconds: float, size: int) -> dict[str, float]:
    """N3's first: one awaited put at a time; the median, microseconds."""
    times = []
    async with posthouse.open(url) as broker:
        queue = broker.queue("bench", max_messages=None)
        began = time.perf_counter()
        while (before := time.perf_counter()) - began < seconds:
            await queue.put(BODY)
            times.append(time.perf_counter() - before)
        await queue.put(END)
    return {"p50_us": statistics.median(times) * 1e6, "sent": len(times), "began": began}


async def produce_paced(url: str, seconds: float, size: int) -> dict[str, float]:
    """N3's second: 200 a second, each with the time at which it was put."""
    async with posthouse.open(url) as broker:
        queue = broker.queue("bench")
        began = time.perf_counter()
        sent = 0
        while time.perf_counter() - began < seconds:
            await queue.put(time.monotonic_ns().to_bytes(8) + BODY[8:])
            sent += 1
            await asyncio.sleep(max(0.0, began + sent / 200 - time.perf_counter()))
        await queue.put(END)
        return {"sent": sent, "began": began}


async def consume(url: str, seconds: float, size: int) -> dict[str, float]:
    """Take and ack batches until the end is there."""
    received = 0
    async with posthouse.open(url) as broker:
        queue = broker.queue("bench")
        while True:
            messages = await queue.get_many(size)
            last = messages[-1].raw == END
            await queue.ack_many(messages)
            received += len(messages) - last
            if last:
                return {"received": received, "ended": time.perf_counter()}


async def consume_paced(url: str, seconds: float, size: int) -> dict[str, float]:
    """Take one at a time, and note how old it is."""
    ages: list[int] = []
    async with posthouse.open(url) as broker:
        queue = broker.queue("bench")
        while True:
            message = await queue.get()
            now_ns = time.monotonic_ns()
            await message.ack()
            if message.raw == END:
                return {"p50_us": statistics.median(ages) / 1e3, "ended": time.perf_counter()}
            ages.append(now_ns - int.from_bytes(message.raw[:8]))


ROLES = {
    "batches": produce_batches,
    "singly": produce_singly,
    "one": produce_one,
    "paced": produce_paced,
    "consume": consume,
    "consume-paced": consume_paced,
}


# the rows


def flow(base: Path, role: str, seconds: float, loop: str, size: int) -> dict[str, float]:
    """A producer and a consumer at once; messages a second, and what the producer says."""
    taker, take = ("consume-paced", 1) if role == "paced" else ("consume", min(size, 100))
    with ExitStack() as stack:
        directory = stack.enter_context(fresh_directory(base))
        url, _ = stack.enter_context(server(directory, loop))
        consumer = stack.enter_context(client(taker, url, seconds, loop, take))
        producer = stack.enter_context(client(role, url, seconds, loop, size))
        sent, got = answer_of(producer), answer_of(consumer)
    # perf_counter is one clock for all processes of a machine (Linux, macOS).
    rate = sent["sent"] / (got["ended"] - sent["began"])
    return {"rate": rate, "put_p50_us": sent.get("p50_us", 0), "end_p50_us": got.get("p50_us", 0)}


def memory_bytes(pid: int) -> int:
    """A process's own memory (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


async def idle_clients(url: str, count: int) -> list[posthouse.Broker]:
    """So many clients that do nothing."""
    brokers: list[posthouse.Broker] = []
    for start in range(0, count, 100):
        new = [posthouse.open(url, keep_leases_s=0) for _ in range(min(100, count - start))]
        await asyncio.gather(*[broker.__aenter__() for broker in new])
        brokers += new
    return brokers


def idle(base: Path, seconds: float, loop: str, count: int) -> dict[str, float]:
    """N4: the server's memory for each idle connection, and a busy client's rate beside them."""
    with ExitStack() as stack:
        directory = stack.enter_context(fresh_directory(base))
        url, pid = stack.enter_context(server(directory, loop))
        runner = stack.enter_context(asyncio.Runner(loop_factory=loop_factory(loop)))

        def busy() -> float:
            consumer = stack.enter_context(client("consume", url, seconds, loop, 100))
            producer = stack.enter_context(client("batches", url, seconds, loop, 100))
            sent, got = answer_of(producer), answer_of(consumer)
            return sent["sent"] / (got["ended"] - sent["began"])

        # Memory first: what a busy time leaves free would hide what the connections take.
        brokers = runner.run(idle_clients(url, 1))
        before = memory_bytes(pid)
        brokers += runner.run(idle_clients(url, count))
        each = (memory_bytes(pid) - before) / count
        beside = busy()

        async def leave() -> None:
            await asyncio.gather(*[broker.close() for broker in brokers])

        runner.run(leave())
        alone = busy()
    return {"bytes_each": each, "alone": alone, "beside": beside, "kept": beside / alone}


def main() -> int:
    """Run the rows, or (in a child) one client."""
    parser = argparse.ArgumentParser(prog="bench.network", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", default="N1,N2,N3,N4")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--role", choices=sorted(ROLES))
    parser.add_argument("--url", default="")
    parser.add_argument("--size", type=int, default=100)
    args = parser.parse_args()
    if args.role:
        with asyncio.Runner(loop_factory=loop_factory(args.loop)) as runner:
            answer = runner.run(ROLES[args.role](args.url, args.seconds, args.size))
        print(json.dumps(answer), flush=True)
        return 0
    jobs: dict[str, list[tuple[str, Any]]] = {
        "N1": [("batches of 100", lambda: flow(DATA, "batches", args.seconds, args.loop, 100))],
        "N2": [("1,000 tasks", lambda: flow(DATA, "singly", args.seconds, args.loop, 1_000))],
        "N3": [
            ("one put at a time", lambda: flow(DATA, "one", args.seconds, args.loop, 1)),
            ("200 a second", lambda: flow(DATA, "paced", args.seconds, args.loop, 1)),
        ],
        "N4": [("idle", lambda: idle(DATA, args.seconds, args.loop, args.idle))],
    }
    for name in args.rows.split(","):
        for what, job in jobs[name.strip().upper()]:
            found = [job() for _ in range(args.rounds)]
            shown = {
                key: round(statistics.median(each[key] for each in found), 1) for key in found[0]
            }
            print(f"{name} {what}: {json.dumps(shown)}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
