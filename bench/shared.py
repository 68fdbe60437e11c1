"""A shared directory beside row N1: ``python -m bench.shared``.

Both have three processes and the same work (see `bench.network`). In N1 the server is started by
hand and listens on TCP; in a shared directory the clients start the broker process themselves. The
two take turns, so that a busy moment of the machine hits both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from bench.measure import fresh_directory
from bench.network import DATA, answer_of, client, server

GOAL = 0.9
BATCH = 100


def over_tcp(base: Path, seconds: float, loop: str) -> float:
    """N1: messages a second."""
    with ExitStack() as stack:
        directory = stack.enter_context(fresh_directory(base))
        url, _ = stack.enter_context(server(directory, loop))
        return flow(url, seconds, loop)


def over_directory(base: Path, seconds: float, loop: str) -> float:
    """The same over a shared directory."""
    with fresh_directory(base) as directory:
        return flow(f"shared:{directory / 'data'}", seconds, loop)


def flow(url: str, seconds: float, loop: str) -> float:
    """A producer and a consumer of batches at once; messages a second."""
    with (
        client("consume", url, seconds, loop, BATCH) as consumer,
        client("batches", url, seconds, loop, BATCH) as producer,
    ):
        sent, got = answer_of(producer), answer_of(consumer)
    return sent["sent"] / (got["ended"] - sent["began"])


def main() -> int:
    """Measure both in turn; 1 if the ratio of the medians is under the goal."""
    parser = argparse.ArgumentParser(prog="bench.shared", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    args = parser.parse_args()
    tcp: list[float] = []
    shared: list[float] = []
    for number in range(args.rounds):
        turns = [(over_tcp, tcp), (over_directory, shared)]
        for measure, found in turns if number % 2 else reversed(turns):
            found.append(measure(DATA, args.seconds, args.loop))
    ratio = statistics.median(shared) / statistics.median(tcp)
    for name, found in (("N1, posthouse serve on TCP", tcp), ("shared directory", shared)):
        shown = ", ".join(f"{rate:,.0f}" for rate in sorted(found))
        print(f"{name}: {statistics.median(found):,.0f} messages/s ({shown})")
    print(f"ratio {ratio:.2f} (goal {GOAL}); both on disk before put returns; {args.loop}")
    return int(ratio < GOAL)


if __name__ == "__main__":
    sys.exit(main())
