"""The outside ledger: what happened, as told by reports that outlive the process that made them.

Pure. A report that never came (the kill cut it off) is settled by what the next life finds on
disk: the version of the totals says which announced batches became true.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from posthouse.cli.demo.analysis import digest
from posthouse.cli.demo.events import (
    Added,
    Adding,
    AnyEvent,
    Done,
    Put,
    Started,
    Taken,
    Totals,
)


@dataclass(slots=True)
class Ledger:
    """Attributes:
    file_count: how many files there are.
    put: numbers of the files whose put was acknowledged.
    index_of: the file number of every source message id that was seen.
    deliveries: how often each source message was delivered.
    redelivered: deliveries that were not the first of their message.
    done: source messages whose transaction was acknowledged.
    batches: the source ids of each version of the totals, announced or true.
    acknowledged_version: the newest version of the totals that was acknowledged.
    rolled_back: somebody found less on disk than was acknowledged before.
    """

    file_count: int
    put: set[int] = field(default_factory=set)
    index_of: dict[str, int] = field(default_factory=dict)
    deliveries: Counter[str] = field(default_factory=Counter)
    redelivered: int = 0
    done: set[str] = field(default_factory=set)
    batches: dict[int, list[str]] = field(default_factory=dict)
    acknowledged_version: int = 0
    rolled_back: bool = False

    def record(self, event: AnyEvent) -> None:
        """Note one report."""
        match event:
            case Put(start, end):
                self.put.update(range(start, end))
            case Taken(name, index, attempt):
                self.index_of[name] = index
                self.deliveries[name] += 1
                self.redelivered += attempt > 1
            case Done(name):
                self.done.add(name)
            case Adding(version, ids):
                self.batches[version] = ids
            case Added(version):
                self.acknowledged_version = version
            case Started(cursor, version):
                self._found(cursor, version)
                if version is not None:
                    self._forget_after(version)
            case _:
                pass

    def acknowledged(self) -> tuple[int, int]:
        """What must be there from now on: (the producer's place, the version of the totals)."""
        return max(self.put, default=-1) + 1, self.acknowledged_version

    def looked(self, said: tuple[int, int], cursor: int, version: int) -> None:
        """Somebody looked, after `acknowledged` said so much, and found these places."""
        self.rolled_back |= cursor < said[0] or version < said[1]

    def _found(self, cursor: int | None, version: int | None) -> None:
        """Somebody found these places on disk: nothing acknowledged may lie beyond them."""
        if cursor is not None:
            self.rolled_back |= any(number >= cursor for number in self.put)
            self.put.update(range(cursor))
        if version is not None:
            self.rolled_back |= version < self.acknowledged_version

    def _forget_after(self, version: int) -> None:
        for announced in [number for number in self.batches if number > version]:
            del self.batches[announced]

    @property
    def counted_so_far(self) -> int:
        """Source messages in batches that were announced, for a progress bar."""
        return sum(map(len, self.batches.values()))

    def judge(self, totals: Totals) -> Judgement:
        """Compare the reports with the totals that are on disk at the end."""
        counted: Counter[str] = Counter()
        for version, ids in self.batches.items():
            if version <= totals.version:
                counted.update(ids)
        files = Counter(self.index_of[name] for name in counted.elements())
        return Judgement(
            put=len(self.put),
            unput=self.file_count - len(self.put),
            redelivered=self.redelivered,
            lost=sorted(set(range(self.file_count)) - files.keys()),
            twice=sorted(index for index, times in files.items() if times > 1),
            undone=sorted(name for name in self.done if name not in counted),
            rolled_back=self.rolled_back or self.acknowledged_version > totals.version,
            totals_agree=totals.counts.files == counted.total()
            and int(totals.digest, 16) == digest(counted.elements()),
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the ledger says of a finished run.

    Attributes:
        put: files put on the queue, acknowledged.
        unput: files that never were.
        redelivered: deliveries that were not the first.
        lost: files that are in no version of the totals.
        twice: files that are in the totals more than once.
        undone: source messages acknowledged as done whose result was never counted.
        rolled_back: something acknowledged (a put, a version of the totals) was not there later.
        totals_agree: the totals' own count and digest are those of the ledger.
    """

    put: int
    unput: int
    redelivered: int
    lost: list[int]
    twice: list[int]
    undone: list[str]
    rolled_back: bool
    totals_agree: bool

    @property
    def good(self) -> bool:
        """Nothing was lost, counted twice, undone or rolled back, and the totals agree."""
        return not (self.unput or self.lost or self.twice or self.undone or self.rolled_back) and (
            self.totals_agree
        )
