"""Bugs of topics, duplicates, keys and order; see `bugs`."""

from __future__ import annotations

from typing import Final

from tests.lab.planted.detectors import CHURN, DISK, LIVES, SCHEDULE
from tests.lab.planted.plant import Bug, Edit

OPERATIONS: Final[tuple[Bug, ...]] = (
    Bug(
        "what is published to many queues is there in the first only after a restart",
        (
            Edit(
                "                self._put(Put(record.queue, record.producer, record.sequence, "
                "[record.entry]))\n",
                "                pass\n",
            ),
            Edit(
                "                records.append(_copied(data, at, stop, flags, kind, offset, "
                "sizes))\n",
                "                pass\n",
            ),
        ),
        LIVES,
    ),
    Bug(
        "a binding leaves the log with the segment in which it was made",
        (
            Edit(
                "        return [*self._queues.values(), *self._bindings.values()]\n",
                "        return [*self._queues.values()]\n",
            ),
        ),
        CHURN,
    ),
    Bug(
        "the end of a binding is forgotten on restart",
        (
            Edit(
                "            router.unbind(record.topic, record.queue, record.pattern)\n",
                "            pass\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "a publish does not remember its dedup id",
        (
            Edit(
                "            if dedup:\n                queue.dedup.remember(dedup, entry[0])\n",
                "",
            ),
        ),
        LIVES,
    ),
    Bug(
        "dedup ids leave the log with the segment in which they were put",
        (
            Edit(
                "            pairs = queue.dedup.carry(first_id, self.numbers.last_id, now_ns)\n",
                "            pairs = []\n",
            ),
        ),
        CHURN,
    ),
    Bug(
        "a stack gives the oldest first",
        (
            Edit(
                "def _lifo(entry: Entry) -> int:\n    return -rank_of(entry)\n",
                "def _lifo(entry: Entry) -> int:\n    return rank_of(entry)\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "the next message of a key does not wait for the one before it",
        (
            Edit(
                "        key = self._line_of(entry)\n"
                "        if key is not None:\n"
                "            self.keys.taken(key, rank, now_ns)\n"
                "            self._step_out(key)\n",
                "        key = self._line_of(entry)\n"
                "        if key is not None:\n"
                "            self.keys.taken(key, rank, now_ns)\n"
                "            self.keys.left(key)\n"
                "            self._step_out(key)\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "an unbound queue gets what is published all the same",
        (
            Edit(
                "        if not bindings:\n            del self._bindings[topic]\n"
                "        self._found.clear()\n        return True\n",
                "        if not bindings:\n            del self._bindings[topic]\n"
                "        return True\n",
            ),
        ),
        LIVES,
    ),
)
