"""The bugs that the tests must notice: the field's classics, each as a small change of the code.

A new feature brings its own. A detector is the cheapest test that is meant to notice, with seeds
that do; it must pass on the code as it is.
"""

from __future__ import annotations

from typing import Final

from tests.lab.planted.depth import DEPTH
from tests.lab.planted.detectors import (
    BURSTS,
    CHURN,
    DAMAGE,
    DISK,
    FAULTS,
    KILLS,
    LIVES,
    SCHEDULE,
    WEAK,
    by_pytest,
)
from tests.lab.planted.operations import OPERATIONS
from tests.lab.planted.places import PLACES, REAL
from tests.lab.planted.plant import Bug, Edit
from tests.lab.planted.serving import SERVING

BUGS: Final[tuple[Bug, ...]] = (
    # What is durable
    Bug(
        "a put is acknowledged before it is synced",
        (
            Edit(
                "                self._files.pwritev_sync(self._fd, parts, self.position)\n"
                "                self.position += size\n",
                '                self._files.pwrite(self._fd, b"".join(parts), self.position)\n'
                "                self.position += size\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "a failed sync is tried again as if it could succeed",
        (
            Edit(
                "                self._files.pwritev_sync(self._fd, parts, self.position)\n"
                "                self.position += size\n",
                "                try:\n"
                "                    self._files.pwritev_sync(self._fd, parts, self.position)\n"
                "                except OSError:\n"
                "                    self._files.fdatasync(self._fd)\n"
                "                self.position += size\n",
            ),
        ),
        FAULTS,
    ),
    Bug(
        "a short write is taken for a whole one",
        (Edit("        while written < size:\n", "        while written > size:\n"),),
        by_pytest("tests/journal/test_files.py"),
    ),
    Bug(
        "the directory is not synced after a segment got its name",
        (
            Edit(
                "            self._files.rename(path, path_in(self._directory, "
                "segment_name(header.number)))\n"
                "            self._files.fsync_dir(self._directory)\n",
                "            self._files.rename(path, path_in(self._directory, "
                "segment_name(header.number)))\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "the directory is not synced after FORMAT got its name",
        (
            Edit(
                "        files.close(fd)\n"
                "    files.rename(path + TEMPORARY, path)\n    files.fsync_dir(directory)\n",
                "        files.close(fd)\n    files.rename(path + TEMPORARY, path)\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "the directory is not synced after a segment became a spare",
        (
            Edit(
                "            # Only when the directory is on disk may the spare's bytes be "
                "written over.\n"
                "            self._files.fsync_dir(self._directory)\n",
                "",
            ),
        ),
        CHURN,
    ),
    Bug(
        "names that a killed process left are trusted before they are durable",
        (
            Edit(
                "    # written over, nor segments be added to a log whose FORMAT file could be "
                "lost.\n"
                "    files.fsync_dir(directory)\n",
                "",
            ),
        ),
        KILLS,
    ),
    Bug(
        "a segment gets its name before its content is on disk",
        (
            Edit(
                "            self._files.pwrite(fd, data, 0)\n            self._files.fsync(fd)\n",
                "            self._files.pwrite(fd, data, 0)\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "a segment is removed before what settled its messages is durable",
        (
            Edit(
                "        self._upkeep.reclaim(group.oldest)\n",
                "        self._upkeep.reclaim(self._live.needed_from())\n",
            ),
        ),
        CHURN,
    ),
    Bug(
        "with sync=interval a segment is removed before the log is synced",
        (
            Edit(
                '            # lost after it (with sync="commit" it is on disk already).\n'
                "            self._sync()\n",
                "",
            ),
        ),
        WEAK,
    ),
    Bug(
        "with sync=interval a frame calls synced what is only written",
        (
            Edit(
                "            head = build_frame(sealed, self._seed, self.synced)\n"
                "            parts = (head",
                "            head = build_frame(sealed, self._seed, self.position)\n"
                "            parts = (head",
            ),
        ),
        WEAK,
    ),
    Bug(
        "an ack goes to disk in a later sync than the one it waited for",
        (
            Edit(
                "        self._open = None\n"
                "        self._forget_open_records()\n"
                "        self._room.count(group.records)\n",
                "        self._open = None\n"
                "        self._forget_open_records()\n"
                '        held = getattr(self, "_acks_later", [])\n'
                "        later = [r for r in group.records if isinstance(r, Settled)]\n"
                "        if len(later) < len(group.records):\n"
                "            rest = [r for r in group.records if not isinstance(r, Settled)]\n"
                "            group.records = rest + held\n"
                "            self._acks_later = later\n"
                "        self._room.count(group.records)\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "an opening is not made durable before it is used",
        (
            Edit(
                "        log.disk.write_all([*recovered.tail, _frame([log.opened], sequence, "
                "log.oldest)])\n",
                "        log.next_sequence = sequence\n",
            ),
        ),
        LIVES,
    ),
    # What a recovery makes of it
    Bug(
        "damage in the middle is cut off like a torn tail",
        (
            Edit(
                "        lambda found: found.proven,\n        Verdict.REFUSE,\n",
                "        lambda found: found.proven,\n        Verdict.CUT,\n",
            ),
        ),
        DAMAGE,
    ),
    Bug(
        "the checksum does not cover the header",
        (
            Edit(
                "    if zlib.crc32(rest, seed) != int.from_bytes(data[offset + 4 : offset + 8], "
                '"little"):\n        return None\n',
                "",
            ),
        ),
        DAMAGE,
    ),
    Bug(
        "the checksum of the payload is not looked at",
        (
            Edit(
                "    if zlib.crc32(memoryview(data)[start:end], seed) != header.payload_crc:\n"
                "        return None\n",
                "",
            ),
        ),
        DAMAGE,
    ),
    Bug(
        "stale frames of a segment that is used again are taken for its own",
        (
            Edit(
                '    return zlib.crc32(salt.to_bytes(8, "little"), _SEED)\n',
                '    return zlib.crc32(b"", _SEED)\n',
            ),
            Edit(
                "        in_order = header.sequence == expected and catalog",
                "        in_order = header.sequence <= expected and catalog",
            ),
        ),
        CHURN,
    ),
    Bug(
        "frames that may be in the page cache only are built upon",
        (
            Edit(
                "    if recovered.append:\n",
                "    if recovered.append or recovered.tail:\n"
                "        log.next_sequence = sequence + 1\n"
                "        recovered.cut_at += sum(48 + len(f.payload) for f in recovered.tail)\n"
                "        recovered.tail.clear()\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "ids begin anew when all that had them is gone",
        (
            Edit("            last_id=roll.last_id,\n", "            last_id=0,\n"),
            Edit("        last_id=log.live.last_id,\n", "        last_id=0,\n"),
        ),
        by_pytest("tests/journal/test_checkpoints.py", "-k", "ids_go_on"),
    ),
    Bug(
        "a new segment does not say which queues there are",
        (
            Edit(
                "        return Roll(spare, self._log.catalog_records(), ",
                "        return Roll(spare, self._log.catalog_records()[:1], ",
            ),
        ),
        CHURN,
    ),
    Bug(
        "half a transaction can be on disk",
        (
            Edit(
                "            group.records.append(record)\n        self._count(group, size",
                "            group.records.append(record)\n"
                "            if record is not records[-1]:\n"
                "                self._seal()\n"
                "                group = self._begin(size)\n"
                "        self._count(group, size",
            ),
        ),
        DISK,
    ),
    # Attempts, delays, order
    Bug(
        "an attempt is not written before the program sees the message",
        (
            Edit(
                "            journal.delivered_one(state.number, rank_of(taken[1]), taken[2])\n",
                "            pass\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "attempts that no longer fit the ring are lost with the process",
        (
            Edit(
                "            if self._write_over(queue, ids, attempts):\n                return\n",
                "",
            ),
        ),
        BURSTS,
    ),
    Bug(
        "a retry's delay is forgotten on restart",
        (
            Edit(
                "                shelf.held.discard(rank_of(entry))\n"
                "                shelf.due_ns[message_id] = due_ns\n",
                "                shelf.held.discard(rank_of(entry))\n"
                "                shelf.due_ns[message_id] = 0\n",
            ),
        ),
        DISK,
    ),
    Bug(
        "a retry goes to the end of the order",
        (
            Edit(
                "            heappush(self.delayed, (due_ns, rank, entry))\n"
                "        else:\n"
                "            heappush(self.returned, (rank, entry))\n"
                "\n"
                "    def restore",
                "            heappush(self.delayed, (due_ns, rank, entry))\n"
                "        else:\n"
                "            self.ready.append(entry)\n"
                "\n"
                "    def restore",
            ),
        ),
        LIVES,
    ),
    # Leases and tokens
    Bug(
        "an ack is not checked against its token",
        (
            Edit(
                "        lease = self.leases.pop(token, None)\n"
                "        if lease is None:\n"
                "            return False\n"
                "        if lease.__class__ is tuple:\n",
                "        if token not in self.leases:\n"
                "            for other, held in self.leases.items():\n"
                "                if held.__class__ is tuple and held[2][0] == message_id:\n"
                "                    token = other\n"
                "                    break\n"
                "        lease = self.leases.pop(token, None)\n"
                "        if lease is None:\n"
                "            return False\n"
                "        if lease.__class__ is tuple:\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "tokens begin anew after a restart",
        (Edit("state.numbers.last_token = epoch << 40", "state.numbers.last_token = 1 << 40"),),
        LIVES,
    ),
    Bug(
        "leases follow the wall clock",
        (
            Edit(
                "        self._anchor_ns = min(_reading(wall_ns, monotonic_ns) "
                "for _ in range(_READINGS))[1]\n",
                "        self._wall_ns = wall_ns\n",
            ),
            Edit(
                "        return self._anchor_ns + self._monotonic_ns()\n",
                "        return self._wall_ns()\n",
            ),
        ),
        by_pytest("tests/lab/process/test_clocks.py"),
    ),
    # Two owners, cancellation
    Bug(
        "two processes can own one directory",
        (
            Edit(
                "        except BlockingIOError:\n            return False\n",
                "        except BlockingIOError:\n            return True\n",
            ),
        ),
        by_pytest("tests/journal/test_lock.py"),
    ),
    Bug(
        "a wake-up is lost with the consumer that was cancelled",
        (
            Edit(
                "            if self.state.waiting() > 0:\n                self.wake_getters(1)\n",
                "            pass\n",
            ),
        ),
        by_pytest("tests/lab/schedule/test_schedule.py", "-k", "cancelled_at_every_await"),
    ),
    Bug(
        "a cancellation is swallowed",
        (
            Edit(
                "            self.depart(getter)\n            raise\n",
                "            self.depart(getter)\n",
            ),
        ),
        by_pytest("tests/lab/schedule/test_schedule.py", "-k", "cancelled_at_every_await"),
    ),
    Bug(
        "dedup ids are forgotten on restart",
        (
            Edit(
                "                self.others.append((sequence, index, "
                "Remembered(record.queue, names, ids)))\n",
                "                pass\n",
            ),
        ),
        SCHEDULE,
    ),
    Bug(
        "a body of any size is taken",
        (
            Edit(
                "        if len(body) > MAX_BODY_BYTES:\n",
                "        if len(body) > 1 << 62:\n",
            ),
        ),
        by_pytest("tests/api/test_memory.py", "-k", "test_bodies"),
    ),
    Bug(
        "a run of settlements of any length is read",
        (Edit("        if count > MAX_RUN:\n", "        if count > 1 << 62:\n"),),
        by_pytest("tests/journal/test_codec.py"),
    ),
    *DEPTH,
    *OPERATIONS,
    *PLACES,
    *REAL,
    *SERVING,
)
