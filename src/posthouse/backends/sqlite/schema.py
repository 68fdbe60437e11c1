"""What the database holds: tables, indexes, and the version of both.

A message is a narrow row in ``message``, which changes as it is taken and given back, and a wide
one in ``content``, which is written once: SQLite rewrites a row whole, however little changes.

Upgrades: a new version adds a step to `UPGRADES` (from, to) and never changes an old one; a
database of a newer version is refused.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x706F7374
"""``post``; in the file's header, so that a foreign database is told apart."""
VERSION: Final = 1

# message.state. What is above HELD waits for a time.
STANDING: Final = 0
"""May be taken."""
LINED: Final = 1
"""Waits behind its key."""
HELD: Final = 2
"""Under the lease ``token``."""
DELAYED: Final = 3
"""Until ``due_ns``."""
PACED: Final = 4
"""The same, because its key's rate says so."""

COUNTS: Final = ("live", "size_bytes", "held", "delayed", "rate_next_ns", "dedups")
"""What a queue holds, kept with each change."""
TALLIES: Final = (
    "put",
    "acked",
    "returned",
    "expired_leases",
    "dead_lettered",
    "dropped",
    "purged",
    "expired",
    "deduplicated",
)
"""What was done in a queue, ever; a broker shows what was added since it was opened."""

_NUMBERS: Final = ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in COUNTS + TALLIES)

TABLES: Final = (
    """CREATE TABLE broker (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        epoch INTEGER NOT NULL,
        last_id INTEGER NOT NULL,
        last_ns INTEGER NOT NULL,
        skew_ns INTEGER NOT NULL,
        shape INTEGER NOT NULL,
        writer INTEGER NOT NULL
    ) STRICT""",
    "INSERT INTO broker VALUES (1, 0, 0, 0, 0, 0, 0)",
    "CREATE TABLE holder (number INTEGER PRIMARY KEY, pid INTEGER NOT NULL) STRICT",
    f"""CREATE TABLE queue (
        number INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        policy TEXT NOT NULL,
        {_NUMBERS}
    ) STRICT""",
    """CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        state INTEGER NOT NULL,
        place INTEGER NOT NULL,
        rank INTEGER NOT NULL,
        token INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        due_ns INTEGER NOT NULL,
        expires_ns INTEGER NOT NULL,
        priority INTEGER NOT NULL,
        size INTEGER NOT NULL,
        line TEXT,
        key TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX standing ON message (queue, place, rank) WHERE state = 0",
    "CREATE INDEX of_queue ON message (queue)",
    "CREATE INDEX lined ON message (queue, line, state, rank) WHERE line IS NOT NULL",
    "CREATE INDEX due ON message (due_ns) WHERE state > 2",
    "CREATE INDEX expiring ON message (expires_ns) WHERE expires_ns > 0 AND state <> 2",
    """CREATE TABLE content (
        id INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        headers BLOB,
        death BLOB,
        shown TEXT,
        body BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX opaque ON content (queue) WHERE kind > 2",
    """CREATE TABLE lease (
        token INTEGER PRIMARY KEY,
        queue INTEGER NOT NULL,
        holder INTEGER NOT NULL,
        deadline_ns INTEGER NOT NULL,
        counted INTEGER NOT NULL,
        ids BLOB NOT NULL
    ) STRICT""",
    "CREATE INDEX deadline ON lease (deadline_ns)",
    """CREATE TABLE dedup (
        queue INTEGER NOT NULL,
        dedup TEXT NOT NULL,
        id INTEGER NOT NULL,
        PRIMARY KEY (queue, dedup)
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX dedup_age ON dedup (queue, id)",
    """CREATE TABLE key_rate (
        queue INTEGER NOT NULL,
        key TEXT NOT NULL,
        next_ns INTEGER NOT NULL,
        PRIMARY KEY (queue, key)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE binding (
        topic TEXT NOT NULL,
        queue INTEGER NOT NULL,
        pattern TEXT NOT NULL,
        PRIMARY KEY (topic, queue, pattern)
    ) STRICT, WITHOUT ROWID""",
)

UPGRADES: Final[dict[int, tuple[str, ...]]] = {0: TABLES}
"""The statements that lead from a version to the next."""
