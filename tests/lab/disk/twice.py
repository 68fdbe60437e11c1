"""The same crash state opened once more, as a broker opens it: by checkpoints, pages and runs."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from posthouse.core.pages import Page
from posthouse.core.rebuild import Rebuild
from posthouse.core.state import BrokerState
from posthouse.errors import PosthouseError
from posthouse.journal.log import Log, LogOptions, open_log
from posthouse.model import DEFAULT_MAX_BYTES_LOG
from posthouse.records import Entry
from posthouse.testing.simdisk import SimDisk
from tests.journal.rebuilding import DIRECTORY, plain

Pairs = list[tuple[object, object]]

EVERY = 3
"""It takes about as long as all the rest; so of these states only one in so many."""


def copy_of(disk: SimDisk) -> SimDisk:
    """The disk as it is, to be opened by somebody else."""
    return SimDisk.after_kill(disk.cut(), record=False)


def differences(
    disk: SimDisk, options: LogOptions, now_ns: int, state: BrokerState, log: Log
) -> list[str]:
    """What a broker that opens ``disk`` would have otherwise than a replay of every record."""
    again = BrokerState(DEFAULT_MAX_BYTES_LOG)
    rebuild = Rebuild(again)
    try:
        other = open_log(DIRECTORY, disk, options, rebuild.apply, now_ns, sink=rebuild)

        def read(number: int, page: Page) -> list[Entry]:
            return other.reader.read(number, page.segment, page.runs())

        rebuild.materialise(read, now_ns)
    except PosthouseError as error:
        return [f"rebuilding it is refused: {type(error).__name__}: {error}"]
    rebuild.finish(now_ns)
    problems = []
    one, two = plain(state), plain(again)
    problems += [
        f"replayed it is {mine!r:.1500}\nrebuilt it is {theirs!r:.1500}"
        for mine, theirs in parts(one, two)
    ]
    other.abandon()
    lives = [
        (each.live.total, each.live.needed_from(), each.last_id, each.next_sequence)
        for each in (log, other)
    ]
    if lives[0] != lives[1]:
        problems.append(f"replayed and rebuilt, the log counts {lives[0]} and {lives[1]}")
    return problems


def parts(one: Any, two: Any) -> Pairs:
    """Of two states in plain values, what is not the same in both."""
    found: Pairs = [pair for pair in zip(one[1:], two[1:], strict=True) if pair[0] != pair[1]]
    for number in sorted(one[0].keys() | two[0].keys()):
        mine, theirs = one[0].get(number, ()), two[0].get(number, ())
        found += [
            ((number, *mine[:1], mine_part), (number, *theirs[:1], theirs_part))
            for mine_part, theirs_part in zip_longest(mine, theirs)
            if mine_part != theirs_part
        ]
    return found
