"""The rows and their goals."""

from __future__ import annotations

from bench.peers.model import Row

BATCH = 100
"""Messages in a batch, put or taken."""
TASKS = 1_000
"""Tasks of the one producer in row N2."""
PACE_PER_SECOND = 200
BACKLOG = 20_000
"""How far the producer of row N1 may be ahead of the consumer, in messages."""

ROWS = (
    Row(
        "N1",
        f"batches of {BATCH}, one at a time, put while the consumer takes and settles batches of "
        f"{BATCH}; from the first put until all is settled",
        "messages/s",
        goal=2.0,
        among_syncing=False,
        produce="batches",
    ),
    Row(
        "N2",
        f"{TASKS:,} tasks of one client each awaiting its put, while the consumer takes and "
        f"settles batches of {BATCH}; acknowledged puts",
        "messages/s",
        goal=2.0,
        among_syncing=False,
        produce="tasks",
    ),
    Row(
        "N3 (put)",
        "one awaited put at a time, p50; the consumer takes them afterwards",
        "us",
        goal=1.0,
        among_syncing=True,
        produce="singly",
        together=False,
    ),
    Row(
        "N3 (delivery)",
        f"from before the put until the consumer has it, p50, at {PACE_PER_SECOND} a second",
        "us",
        goal=1.0,
        among_syncing=True,
        produce="paced",
    ),
)
