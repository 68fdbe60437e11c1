"""The power fails between any two operations, and again while the log recovers."""

from __future__ import annotations

import copy
import random

import pytest

from posthouse.journal.files import Files
from posthouse.testing.files import WRITES, Operation, RecordingFiles
from tests.journal.crashes import Platter
from tests.journal.logs import live_messages, open_records, salts, small_options
from tests.journal.memory import MemoryFiles
from tests.journal.script import Ledger, run

on_loop_or_not = pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])


class Witness(RecordingFiles):
    """Keeps, for each operation, what the program had been told when it was begun."""

    def __init__(self, inner: Files, ledger: Ledger) -> None:
        super().__init__(inner)
        self._ledger = ledger
        self.told: list[Ledger] = []

    def passing(self, operation: Operation) -> None:
        if operation.name in WRITES:
            self.told.append(copy.deepcopy(self._ledger))


async def _recorded(runs: int, *, on_loop: bool) -> tuple[list[Operation], list[Ledger]]:
    ledger = Ledger()
    witness = Witness(MemoryFiles(), ledger)
    for number in range(runs):
        await run(witness, ledger, number, on_loop=on_loop)
    assert ledger.errors == []
    assert len(witness.told) == len(witness.operations)
    return witness.operations, [*witness.told, ledger]


def _recover(disk: Files, ledger: Ledger, salt: int) -> None:
    log, records = open_records(disk, small_options(salt=salts(salt)))
    ledger.check(set(live_messages(records)))
    assert log.epoch > max(ledger.epochs, default=0)
    log.abandon()


@on_loop_or_not
async def test_the_power_fails_after_every_operation(on_loop: bool) -> None:
    operations, told = await _recorded(2, on_loop=on_loop)
    draw = random.Random(1)
    platter = Platter()
    for done, operation in enumerate(operations):
        platter.do(operation)
        # While the next one was under way, all of it may be there too.
        under_way = copy.deepcopy(platter)
        if done + 1 < len(operations):
            following = operations[done + 1]
            if following.name in ("pwrite", "pwritev_sync"):
                pending = Operation("pwrite", following.path, following.offset, following.data)
                under_way.do(pending)
        for disk in under_way.states(draw, 5):
            _recover(disk, told[done + 1], 5000 + done)
            # Recovered, it is as good as new, whatever is still in the page cache.
            _recover(disk, told[done + 1], 9000 + done)


@on_loop_or_not
async def test_the_power_fails_again_while_the_log_recovers(on_loop: bool) -> None:
    operations, told = await _recorded(2, on_loop=on_loop)
    draw = random.Random(3)
    platter = Platter()
    states = 0
    for done, operation in enumerate(operations):
        platter.do(operation)
        if done % 9 == 0:
            for first in platter.states(draw, 1):
                states += _fails_again(first, _as_platter(first), told[done + 1], draw)
    assert states > 1000


@on_loop_or_not
async def test_the_process_dies_and_then_the_power_fails_while_the_log_recovers(
    on_loop: bool,
) -> None:
    """Recovery reads the page cache, where there is more than on the disk."""
    operations, told = await _recorded(2, on_loop=on_loop)
    draw = random.Random(4)
    platter = Platter()
    states = 0
    for done, operation in enumerate(operations[:-1]):
        platter.do(operation)
        following = operations[done + 1]
        # Died inside the next write, or the sync of it: its bytes are in the page cache.
        cached = copy.deepcopy(platter)
        if following.name == "pwritev_sync":
            cached.do(Operation("pwrite", following.path, following.offset, following.data))
        elif following.name != "fsync_dir" and done % 9:
            continue
        states += _fails_again(cached.cached(), cached, told[done + 1], draw)
    assert states > 1000


def _fails_again(cached: MemoryFiles, platter: Platter, told: Ledger, draw: random.Random) -> int:
    """The power fails after each operation of a recovery from what is cached."""
    states = 0
    recording = RecordingFiles(cached)
    _recover(recording, told, 100)
    for step in recording.operations:
        platter.do(step)
        for disk in platter.states(draw, 1):
            _recover(disk, told, 7000 + states)
            states += 1
    return states


def _as_platter(disk: MemoryFiles) -> Platter:
    """A disk that holds this durably."""
    platter = Platter()
    for path, node in disk.names.items():
        platter.do(Operation("create", path))
        platter.do(Operation("pwrite", path, 0, bytes(node.data)))
        platter.do(Operation("fsync", path))
    platter.do(Operation("fsync_dir", ""))
    return platter
