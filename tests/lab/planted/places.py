"""Bugs of places, turns and rates; see `bugs`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.lab.planted.detectors import LIVES, PROCESSES, SCHEDULE
from tests.lab.planted.operations import OPERATIONS
from tests.lab.planted.plant import Bug, Edit

PLACES: Final[tuple[Bug, ...]] = (
    Bug(
        "a dead letter keeps its old rank",
        (
            Edit(
                "            rank=self.numbers.next_id(now_ns),\n            death=death,\n",
                "            rank=(entry[4] or PLAIN).rank,\n            death=death,\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "a redriven message keeps its old rank",
        (
            Edit(
                '                rank=self.numbers.next_id(now_ns),\n                death=b"",\n',
                '                rank=0,\n                death=b"",\n',
            ),
        ),
        LIVES,
    ),
    Bug(
        "what a filter moves keeps its old rank",
        (
            Edit(
                "            rank=state.numbers.next_id(now_ns),\n            due_ns=due_ns,\n",
                "            rank=traits.rank,\n            due_ns=due_ns,\n",
            ),
        ),
        LIVES,
    ),
    Bug(
        "a rate lets two seconds' worth be taken at once",
        (
            Edit(
                "        self._burst_ns = int((burst - 1) * self._interval_ns)\n",
                "        self._burst_ns = int((2 * burst - 1) * self._interval_ns)\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "what a rate did not use is saved up",
        (
            Edit(
                "        return max(next_ns, now_ns) + count * self._interval_ns\n",
                "        return (next_ns or now_ns) + count * self._interval_ns\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "a key's rate is that of no one",
        (
            Edit(
                "                if traits.key and self.keys.free_ns(traits.key) > now_ns:\n",
                "                if not traits.key and self.keys.free_ns(traits.key) > now_ns:\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "a busy key goes first in a fair queue",
        (
            Edit(
                '        """A message joins."""\n        self._ring.append(entry)\n',
                '        """A message joins."""\n        self._ring.appendleft(entry)\n',
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "of a key the newest goes first",
        (
            Edit(
                "        entry = line.line.popleft()\n",
                "        entry = line.line.pop()\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "a message that is put with a delay lets the next of its key pass",
        (
            Edit(
                "        if due_ns and not key:\n"
                "            # Nobody stands behind a delayed message that has no key.\n",
                "        if due_ns:\n"
                "            # Nobody stands behind a delayed message that has no key.\n",
            ),
        ),
        SCHEDULE,
    ),
)

_SEEN: Final = (
    "a dead letter keeps its old rank",
    "a redriven message keeps its old rank",
    "a stack gives the oldest first",
    "the next message of a key does not wait for the one before it",
)
REAL: Final = tuple(
    replace(bug, name=f"{bug.name} (real processes)", detector=PROCESSES)
    for bug in (*OPERATIONS, *PLACES)
    if bug.name in _SEEN
)
"""Some of them once more, to be noticed from outside of real processes."""
