"""Bugs of a log at depth: pages, checkpoints, compaction; see `bugs`."""

from __future__ import annotations

from typing import Final

from tests.lab.planted.detectors import CHURN, by_pytest
from tests.lab.planted.plant import Bug, Edit

DEPTH: Final[tuple[Bug, ...]] = (
    Bug(
        "a checkpoint is believed without validation",
        (
            Edit(
                "    if len(raw) != length or zlib.crc32(raw, seed_of(header.salt)) != checksum:\n"
                "        return None\n",
                "",
            ),
        ),
        by_pytest("tests/journal/test_checkpoints.py", "-k", "damaged_anywhere"),
    ),
    Bug(
        "a checkpoint is believed whatever segment it is of",
        (
            Edit(
                "        if (body.segment, body.salt, body.end, body.first_sequence) != (\n",
                "        if body.segment < 0 and body != (\n",
            ),
        ),
        by_pytest("tests/journal/test_checkpoints.py", "-k", "another"),
    ),
    Bug(
        "a segment is removed before the copy of what lives in it is durable",
        (
            Edit(
                "    def _append(self, records: list[Record]) -> Group:\n"
                "        group = self._journal.append(*records)\n"
                "        assert group is not None\n",
                "    def _append(self, records: list[Record]) -> Group:\n"
                "        group = self._journal.append(*records)\n"
                "        assert group is not None\n"
                "        live = self._journal.live\n"
                "        for record in records:\n"
                "            if isinstance(record, Put):\n"
                "                first = record.entries[0][0]\n"
                "                live.carry(live.newest, first, len(record.entries))\n"
                "        self._journal._upkeep.reclaim(live.needed_from())\n",
            ),
        ),
        CHURN,
    ),
    Bug(
        "a settled message is brought back by compaction",
        (
            Edit(
                "                records = carried(queue.number, rows)\n"
                "                await self._durable(self._append(records), records)\n",
                "                records = carried(queue.number, rows)\n"
                "                await asyncio.sleep(0.001)\n"
                "                await self._durable(self._append(records), records)\n",
            ),
        ),
        by_pytest("tests/api/test_compaction.py", "-k", "settled_while"),
    ),
    Bug(
        "compaction forgets attempts",
        (
            Edit(
                "if not row[3] and (row[1] or row[2] or _had(row[0]))]\n",
                "if not row[3] and row[2]]\n",
            ),
        ),
        by_pytest("tests/api/test_compaction.py", "-k", "pins_nothing"),
    ),
    Bug(
        "what does not pack is copied for ever",
        (
            Edit(
                "                self._begun, self._resting = None, usage\n"
                "                return False\n",
                "                return True\n",
            ),
        ),
        by_pytest("tests/journal/test_rounds.py"),
    ),
    Bug(
        "puts take what is kept for compaction on a full disk",
        (
            Edit(
                "        self._lent += self.usable(self.kept) * 15 // 16\n",
                "",
            ),
        ),
        by_pytest("tests/journal/test_room.py", "-k", "kept"),
    ),
    Bug(
        "a place of a carried message is told before the copy is durable",
        (
            Edit(
                "            group.effects.append(partial(_placed_anew, cold, there, group, start, "
                "len(records)))\n"
                "            await self._durable(group, records)\n",
                "            for row in there:\n"
                "                cold.relocate(row, self._journal.live.newest, (row.id, 1, 0, 0))\n"
                "            await self._durable(group, records)\n",
            ),
        ),
        by_pytest("tests/api/test_compaction.py", "-k", "pins_nothing"),
    ),
    Bug(
        "a checkpoint that an opening believes is not compared with its segment",
        (
            Edit(
                "        elif differing := _differing(found, found.header, digest):\n",
                "        elif differing := _differing(found, found.header, digest)[:0]:\n",
            ),
        ),
        by_pytest("tests/journal/tools/test_comparing.py", "-k", "believed"),
    ),
    Bug(
        "a message that came back passes older ones that are on disk",
        (
            Edit(
                "        elif self.pages is not None and self.pages.first < rank:\n",
                "        elif self.pages is not None and self.pages.first > rank:\n",
            ),
        ),
        by_pytest("tests/core/test_pages.py"),
    ),
    Bug(
        "a row of a stub that comes between others overlaps what follows",
        (
            Edit(
                "            if part[-1][0] >= below:\n"
                "                part = part[: bisect_left(part, below, key=rank_of)]\n",
                "",
            ),
        ),
        by_pytest("tests/core/test_stubs.py"),
    ),
    Bug(
        "a stub without a key is delivered as it is",
        (
            Edit(
                "            if stubs is None:\n                return entry\n",
                "            if stubs is None or traits is None:\n                return entry\n",
            ),
        ),
        by_pytest("tests/core/test_cold_machine.py"),
    ),
    Bug(
        "a copy of a stub forgets until when it is delayed",
        (
            Edit(
                "self.stubs.get(row.rank) is None else traits.due_ns\n",
                "self.stubs.get(row.rank) is None else 0\n",
            ),
        ),
        by_pytest("tests/api/test_compaction.py", "-k", "pins_nothing"),
    ),
    Bug(
        "a stub that outlived its time is buried without its body",
        (
            Edit(
                "            if stubs is not None and self._buries and stubs.lacks(entry):\n",
                "            if stubs is None and self._buries:\n",
            ),
        ),
        by_pytest("tests/api/test_depth_log.py", "-k", "dies_whole"),
    ),
    Bug(
        "a page is read past its end",
        (
            Edit(
                "                found = put.entries[start : start + count] "
                "if start >= 0 else []\n",
                "                found = put.entries[start:]\n",
            ),
            Edit(
                "                if put.queue != queue or len(found) != count:\n",
                "                if put.queue != queue:\n",
            ),
        ),
        by_pytest("tests/journal/test_checkpoints.py", "-k", "all_records"),
    ),
    Bug(
        "what left a page while it was read is delivered",
        (Edit("        if len(entries) != page.count:\n", "        if not entries:\n"),),
        by_pytest("tests/core/test_pages.py"),
    ),
    Bug(
        "what is in memory passes what comes before it on disk",
        (
            Edit(
                "self._order.next_key() > self.horizon:\n                return None\n",
                "self._order.next_key() > self.horizon:\n                self.horizon = None\n",
            ),
        ),
        by_pytest("tests/core/test_cold_machine.py"),
    ),
    Bug(
        "the place of a message that was carried is that of another record",
        (Edit("            (_RECORD, run[3]),\n", ""),),
        by_pytest("tests/core/test_cold_machine.py"),
    ),
    Bug(
        "a message on disk is looked for where compaction let it go",
        (
            Edit(
                "        cold.relocate(row, group.segment, places[row.id])\n",
                "        cold.relocate(row, row.segment, places[row.id])\n",
            ),
        ),
        by_pytest("tests/api/test_compaction.py", "-k", "pins_nothing"),
    ),
    Bug(
        "what was read comes into memory though it has left",
        (
            Edit(
                "        here = cold.leave(rows)\n",
                "        cold.leave(rows)\n        here = rows\n",
            ),
        ),
        by_pytest("tests/core/test_cold_machine.py"),
    ),
    Bug(
        "the place of a message that left memory is never told",
        (
            Edit(
                "            self.relocate(placed(entry, due_ns, 0, run), segment, run)\n",
                "            pass\n",
            ),
        ),
        by_pytest("tests/api/test_spilling.py"),
    ),
    Bug(
        "what was carried twice in a segment is there twice",
        (Edit("        if carried:\n            self._keep_last()\n", ""),),
        by_pytest("tests/api/test_spilling.py"),
    ),
    Bug(
        "what was known of a message before it moved counts again",
        (Edit("entry[4].due_ns > 0 or entry[4].rank > 0)", "entry[4].due_ns > 0)"),),
        by_pytest("tests/api/test_spilling.py"),
    ),
    Bug(
        "what is settled is a row again after a restart",
        (
            Edit(
                '                out[start:end] = b"\\1" * (end - start)\n',
                "                pass\n",
            ),
        ),
        by_pytest("tests/journal/test_rows.py", "-k", "by_rows"),
    ),
    Bug(
        "of what moved or came back its first traits count after a restart",
        (
            Edit(
                "            found = set(known[bisect_left(known, ids[0]) : "
                "bisect_right(known, ids[-1])])\n",
                "            found: set[int] = set()\n",
            ),
        ),
        by_pytest("tests/journal/test_rows.py", "-k", "by_rows"),
    ),
    Bug(
        "rows are in the order of the log, whatever their due times",
        (Edit("    order.sort(key=keys.__getitem__)\n", ""),),
        by_pytest("tests/core/test_sorting.py"),
    ),
    Bug(
        "a checkpoint is believed that does not tell of all its messages",
        (
            Edit(
                "        if not table.puts.count or table.told.count != messages:\n",
                "        if not table.puts.count:\n",
            ),
        ),
        by_pytest("tests/journal/test_checkpoints.py", "-k", "fit_together"),
    ),
)
