"""Backup of a broker in another process, under load, with a ledger outside of it; and backups that
are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from posthouse.journal.files import RealFiles
from posthouse.journal.tools.backup import BackupReport, backup_log
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.restore import check_backup, is_backup, restore_backup
from tests.journal.logs import NOW_NS
from tests.journal.tools.made import READING, Group, content, living, make_log, segments

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}


class Ledger:
    """What the child has said so far."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: dict[str, set[str]] = {"put": set(), "try": set(), "ack": set()}
        self.many = threading.Event()

    def listen(self, lines: Iterable[str]) -> None:
        """Hear the child out."""
        for line in lines:
            what, _, name = line.strip().partition(" ")
            with self._lock:
                self._said[what].add(name)
                if len(self._said["ack"]) >= 3_000:
                    self.many.set()
        self.many.set()  # nothing more comes: who waits will see

    def now(self) -> tuple[set[str], set[str], set[str]]:
        """Copies of (put, tried to ack, acked)."""
        with self._lock:
            return set(self._said["put"]), set(self._said["try"]), set(self._said["ack"])


@contextmanager
def load_on(directory: Path) -> Iterator[Ledger]:
    """A child working on the log; when the context ends it has closed it."""
    ledger = Ledger()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.journal.tools.loaded", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        listener = threading.Thread(target=ledger.listen, args=(child.stdout,))
        listener.start()
        try:
            assert ledger.many.wait(60)
            assert child.poll() is None
            yield ledger
        finally:
            child.stdin.close()
            listener.join(60)
            child.wait(60)
    assert child.returncode == 0


def back_up(source: Path, target: Path) -> BackupReport:
    return backup_log(RealFiles(), str(source), str(target), NOW_NS, reading=READING)


async def test_a_live_broker(tmp_path: Path) -> None:
    source, backup = tmp_path / "log", tmp_path / "backup"
    taken = []
    with load_on(source) as ledger:
        for number in range(8):
            put, _, acked = ledger.now()
            report = back_up(source, backup)
            assert check_log(READING, str(source)).sound
            target = tmp_path / f"new-{number}"
            restore_backup(RealFiles(), str(backup), str(target))
            taken.append((put, acked, target, report))
    all_put, all_tried, _ = ledger.now()
    assert len(segments(source)) < int(segments(source)[-1][:8]), "segments have left meanwhile"
    groups = [report.last_group for _, _, _, report in taken]
    assert groups == sorted(set(groups))
    for put, acked, target, _ in taken:
        assert check_log(READING, str(target)).sound
        found = set(await living(target))
        # All that was acknowledged before is there, or was settled (by the end of the copy).
        assert put - all_tried <= found
        assert not found & acked, "what was durably settled before does not come back"
        strangers = found - all_put
        assert len(strangers) <= 1, "the first message is put before the ledger begins"
    assert any(report.copied < report.segments for _, _, _, report in taken[1:])


def run_backup(source: Path, target: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "posthouse", "log", "backup", str(source), str(target)]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


async def test_killed_backups_of_a_live_broker(tmp_path: Path) -> None:
    """Killed when so many files are there: whatever is left, the last finished backup is whole."""
    source, backup = tmp_path / "log", tmp_path / "backup"
    random = Random(7)
    killed = 0
    with load_on(source) as ledger:
        put, _, acked = ledger.now()
        back_up(source, backup)
        for _ in range(8):
            before = content(backup) if backup.exists() else {}
            process = run_backup(source, backup)
            wanted = random.randrange(1, 4)
            # Seen from outside: as soon as something has changed so often, it dies.
            while process.poll() is None and wanted:
                now = {p.name for p in backup.iterdir()}
                if now != set(before):
                    wanted -= 1
                    before = dict.fromkeys(now, b"")
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.wait(60)
            assert is_backup(READING, str(backup))
            assert check_backup(READING, str(backup)).sound
        report = back_up(source, backup)
    assert killed
    _, all_tried, _ = ledger.now()
    assert len(list(backup.glob("*.part"))) == report.segments + 1, "nothing is left lying about"
    restore_backup(RealFiles(), str(backup), str(tmp_path / "new"))
    found = set(await living(tmp_path / "new"))
    assert put - all_tried <= found
    assert not found & acked


@pytest.mark.parametrize("what", ["write", "sync", "rename", "dirsync", "create", "unlink"])
async def test_killed_at_every_call_of_a_kind(
    made: tuple[Path, list[str], list[Group]], tmp_path: Path, what: str
) -> None:
    """SIGKILL in a forked process, at call after call, until a run comes to its end."""
    source, backup = tmp_path / "log", tmp_path / "backup"
    await make_log(source, puts=30)
    back_up(source, backup)
    first = await restored(backup, tmp_path / "first")
    await make_log(source, puts=100)
    expected = await living(source)
    for number in range(1, 100):
        finished = fork_backup(source, backup, f"before_{what}:{number}")
        assert check_backup(READING, str(backup)).sound
        found = await restored(backup, tmp_path / f"new-{number}")
        assert found in (first, expected)
        if finished:
            break
    else:
        pytest.fail("no run came to its end")
    assert found == expected
    assert number > 1


async def restored(backup: Path, target: Path) -> list[str]:
    restore_backup(RealFiles(), str(backup), str(target))
    return await living(target)


def fork_backup(source: Path, backup: Path, point: str) -> bool:
    """Whether the run came to its end before it reached the point."""
    code = (
        "import sys\n"
        "from posthouse.journal.tools.backup import backup_log\n"
        "from posthouse.journal.tools.files import ReadingFiles\n"
        "from posthouse.testing.failpoints import FailPoint, KillingFiles\n"
        "files = KillingFiles(FailPoint.parse(sys.argv[3]))\n"
        "backup_log(files, sys.argv[1], sys.argv[2], 1, reading=ReadingFiles())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(source), str(backup), point],
        env=ENVIRONMENT,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL)
    return done.returncode == 0
