"""What the journal's tests share: logs in memory, a writer in the loop, a scripted program."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from posthouse.errors import PosthouseError
from posthouse.journal.files import Files
from posthouse.journal.format import PUT_OVERHEAD_BYTES
from posthouse.journal.group import Group
from posthouse.journal.journal import LogJournal
from posthouse.journal.log import Log, LogOptions, open_log
from posthouse.model import QueuePolicy
from posthouse.records import Copied, Declared, Delivered, Entry, Moved, Put, Record, Settled

DIRECTORY = "data"
SMALL = 64 * 1024
NOW_NS = 1_700_000_000_000_000_000


def salts(start: int = 1) -> Callable[[], int]:
    """Salts that differ, and are the same in every run."""
    state = start

    def draw() -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return state

    return draw


def small_options(**changes: Any) -> LogOptions:
    defaults: dict[str, Any] = {"segment_bytes": SMALL, "ring_slots": 16, "salt": salts()}
    return LogOptions(**(defaults | changes))


def open_records(
    files: Files, options: LogOptions | None = None, directory: str = DIRECTORY
) -> tuple[Log, list[Record]]:
    """Open a log; its records in order."""
    records: list[Record] = []
    log = open_log(directory, files, options or small_options(), records.append, NOW_NS)
    return log, records


def entry(message_id: int, body: bytes = b"body", **changes: Any) -> Entry:
    return (
        message_id,
        changes.get("kind", 2),
        body,
        changes.get("headers", b""),
        changes.get("traits"),
    )


def entries(first: int, count: int, body: bytes = b"body") -> list[Entry]:
    return [entry(message_id, body) for message_id in range(first, first + count)]


def declared(queue: int = 1, name: str = "orders") -> Declared:
    return Declared(queue, name, QueuePolicy())


def live_messages(records: Iterable[Record]) -> dict[int, Entry]:
    """What is left of the messages when the records have taken effect."""
    live: dict[int, Entry] = {}
    for record in records:
        if isinstance(record, Put):
            live.update((item[0], item) for item in record.entries)
        elif isinstance(record, Copied):
            live[record.entry[0]] = record.entry
        elif isinstance(record, Settled):
            for message_id in record.ids:
                live.pop(message_id, None)
        elif isinstance(record, Moved) and record.id in live:
            live[record.id] = (*live[record.id][:4], record.traits)
    return live


class InlineWriter:
    """A writer that works at once and tells in the loop's next turn.

    ``hold()`` makes it keep its jobs until ``release()``. ``on_loop``: it says when it is idle,
    so that small commits never come to it; else every job takes its way.
    """

    def __init__(self, *, on_loop: bool = False) -> None:
        self._jobs: list[tuple[Callable[[], Any], Callable[..., None]]] = []
        self._held = False
        self._on_loop = on_loop
        self._unfinished = 0
        self.idle = on_loop
        self.submitted = 0
        self.closed = False

    def submit(self, job: Callable[[], Any], done: Callable[..., None]) -> None:
        self._jobs.append((job, done))
        self._unfinished += 1
        self.submitted += 1
        self.idle = False
        if not self._held:
            self._work()

    def hold(self) -> None:
        self._held = True

    def release(self) -> None:
        self._held = False
        self._work()

    def _work(self) -> None:
        while self._jobs:
            job, done = self._jobs.pop(0)
            try:
                result, error = job(), None
            except BaseException as caught:
                result, error = None, caught
            asyncio.get_running_loop().call_soon(self._finished, done, result, error)

    def _finished(self, done: Callable[..., None], result: Any, error: Any) -> None:
        self._unfinished -= 1
        self.idle = self._on_loop and not self._unfinished
        done(result, error)

    def close(self, deadline_s: float) -> None:
        self.closed = True
        self._work()


class Timers:
    """``call_later`` for tests: nothing is due until `fire`."""

    def __init__(self) -> None:
        self.pending: list[Timer] = []

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self, delay_s, call)
        self.pending.append(timer)
        return timer

    def fire(self) -> int:
        due, self.pending = self.pending, []
        for timer in due:
            timer.call()
        return len(due)


class Timer:
    def __init__(self, timers: Timers, delay_s: float, call: Callable[[], None]) -> None:
        self._timers = timers
        self.delay_s = delay_s
        self.call = call

    def cancel(self) -> None:
        if self in self._timers.pending:
            self._timers.pending.remove(self)


class Bench:
    """A journal over a log, with everything around it visible."""

    def __init__(
        self,
        files: Files,
        options: LogOptions | None = None,
        snapshot: Callable[[], list[Delivered]] = list,
        on_commit: Callable[[Group], None] | None = None,
        carry: Callable[[int], list[Record]] = lambda first_id: [],
        *,
        on_loop: bool = False,
        call_soon: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        self.log, self.records = open_records(files, options)
        self.on_loop = on_loop
        self.writer = InlineWriter(on_loop=on_loop)
        self.timers = Timers()
        self.committed: list[Group] = []
        self.failures: list[PosthouseError] = []
        self.next_id = self.log.last_id + 1
        self.sequence = 0
        self.journal = LogJournal(
            self.log,
            self.writer,
            call_soon=call_soon or asyncio.get_running_loop().call_soon,
            call_later=self.timers.call_later,
            on_commit=on_commit or self.committed.append,
            on_failure=self.failures.append,
            snapshot=snapshot,
            carry=carry,
            now_ns=lambda: NOW_NS,
        )

    async def put(self, body: bytes = b"body", queue: int = 1) -> int:
        """Put one message when there is room; its id. It is durable only after a flush."""
        size = PUT_OVERHEAD_BYTES + len(body)
        if size > self.journal.room:
            await self.journal.make_room(size)
        message_id = self.next_id
        self.journal.put(queue, 7, self.sequence, entry(message_id, body))
        self.next_id += 1
        self.sequence += 1
        return message_id

    async def put_many(self, count: int, body: bytes = b"body", queue: int = 1) -> list[int]:
        size = count * (PUT_OVERHEAD_BYTES + len(body))
        if size > self.journal.room:
            await self.journal.make_room(size)
        batch = entries(self.next_id, count, body)
        self.journal.put_many(queue, 7, self.sequence, batch)
        self.next_id += count
        self.sequence += count
        return [item[0] for item in batch]

    async def turn(self, turns: int = 1) -> None:
        """Let the loop do what is due."""
        for _ in range(turns):
            await asyncio.sleep(0)

    def crash(self) -> None:
        """Let go of the files as a process that dies does."""
        self.log.abandon()


def copy_live(source: Path, target: Path) -> None:
    """Copy the log of an open broker, as a crash would leave it.

    Without its spares and what is being made: these come and go meanwhile.
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("spare*", "*.tmp", "*.ckp"))
