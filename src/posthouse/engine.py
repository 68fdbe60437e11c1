"""The engine: the only place where core, journal and clock meet.

Data flows one way. A verb of the core changes the state and returns records; the journal takes
them in the same step, with no await between; when their group is durable, what waited for that
goes out. `session` is the way in.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import weakref
from collections.abc import Callable
from heapq import heappop, heappush
from threading import get_ident
from typing import NoReturn

from posthouse.clock import Clock
from posthouse.compaction import Compactor
from posthouse.core import transaction
from posthouse.core.pages import Run
from posthouse.core.rebuild import Rebuild
from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState, Late, join_returned
from posthouse.errors import (
    BrokerClosed,
    ForkedProcess,
    PosthouseError,
    StorageFull,
    WrongLoop,
)
from posthouse.journal.closed import ClosedJournal
from posthouse.journal.group import Group
from posthouse.journal.protocol import Journal
from posthouse.lane import Lane
from posthouse.model import FOREVER_NS, NANOSECONDS, QueuePolicy
from posthouse.paging import Pager
from posthouse.records import LOG_RECORDS, Copied, Entry, Moved, Put, Record, Returned
from posthouse.spilling import Spiller

# A timer this late means that the process stood still, and its holders could not renew.
STALL_NS = NANOSECONDS // 4
# A turn of the loop longer than this gives its leases back the time it took.
SLOW_TURN_NS = 10_000_000
# Leases are looked through at most this often, and less often the more there are.
EXPIRY_STEP_NS = 20_000_000
EXPIRY_STEP_PER_LEASE_NS = 2_000
# What need not be in one frame goes into frames of so many records: a frame has to fit a segment.
PART_RECORDS = 50
# Messages that outlived their time are let go so many at a time.
EXPIRIES = 1000
DEATH_BYTES = 1024
# How often a full disk lets timed work be tried again.
FULL_DISK_STEP_NS = NANOSECONDS
# The longest sleep of the timer: call_later is not exact over days.
MOST_SLEEP_NS = 3600 * NANOSECONDS

logger = logging.getLogger("posthouse")

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class Engine:
    """A broker's state and journal on one event loop.

    Attributes:
        state: the core's state. Only the engine and its sessions change it.
        journal: where records go; replaced by one that refuses when the engine closes.
        pager: what of a backlog is in memory; None: all.
        compactor: writes what lives in old segments again; None: there are none.
        spiller: writes again what came back, and is more than may stay in memory; None: all may.
        producer: names this life of the broker in Put records.
        tick_ns: the time as read in this turn of the loop; 0 if it was not yet.
    """

    def __init__(
        self,
        state: BrokerState,
        journal: Journal,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        *,
        epoch: int = 1,
        chance: Callable[[], float] = random.random,
        pager: Pager | None = None,
    ) -> None:
        self.state = state
        self.journal = journal
        self.lanes: dict[int, Lane] = {}
        self.pager = pager
        self.compactor: Compactor | None = None
        self.spiller: Spiller | None = None
        if pager is not None:
            pager.on_load = self.schedule
            self.spiller = Spiller(pager)
            self.compactor = Compactor(state, pager, self.lanes, loop)
        self.clock = clock
        # A clock that was set back while nobody looked must not bring old times again: what is
        # delayed until a time that was near would wait for years. Time goes on from where the log
        # left it.
        behind_ns = max(0, state.numbers.last_id - clock.now_ns())
        self.now_ns: Callable[[], int] = (
            (lambda: clock.now_ns() + behind_ns) if behind_ns else clock.now_ns
        )
        self.loop = loop
        self.thread = get_ident()
        self.chance = chance
        self.tick_ns = 0
        self.producer = epoch
        self.sequence = 0
        self._holders = 0
        self._tick_token = 0
        self._agenda: list[tuple[int, int]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns = FOREVER_NS
        state.numbers.last_token = epoch << 40
        if not journal.instant:
            state.moves = []
        _engines.add(self)

    def check_loop(self) -> None:
        """Raise WrongLoop unless this is the engine's loop and thread."""
        if asyncio._get_running_loop() is not self.loop:
            self._refuse_caller()

    def _refuse_caller(self) -> NoReturn:
        failure = self.journal.failure
        if isinstance(failure, ForkedProcess):
            raise ForkedProcess(*failure.args)
        wrong_loop()

    def tick(self) -> int:
        """The time, read once in a turn of the loop: ``tick_ns or tick()`` costs no call.

        So is the running loop looked at: asking for it at every call costs a system call (getpid,
        in CPython 3.11), and comparing the thread, which every call does, leaves only another
        loop of the same thread to be found here.
        """
        if asyncio._get_running_loop() is not self.loop:
            self._refuse_caller()
        self.tick_ns = now_ns = self.now_ns()
        self._tick_token = self.state.numbers.last_token
        self.loop.call_soon(self._turned)
        return now_ns

    def _turned(self) -> None:
        began_ns, self.tick_ns = self.tick_ns, 0
        if self.state.numbers.last_token > self._tick_token:
            lasted_ns = self.now_ns() - began_ns
            if lasted_ns > SLOW_TURN_NS:
                # The program held the loop: leases of this turn began later than its tick.
                self.state.prolong(self._tick_token, lasted_ns)

    def new_holder(self) -> int:
        """A number for a new session."""
        self._holders += 1
        return self._holders

    # queues

    def declare(self, name: str, policy: QueuePolicy | None) -> Lane:
        """The lane of a queue, made or updated where needed.

        Raises:
            StorageFull, StorageFailed, BrokerClosed: the declaration cannot be kept.
        """
        known = self.state.by_name.get(name)
        if known is None or (policy is not None and policy != known.policy):
            self.check_settle_room(4096)
        queue, records = self.state.declare(name, policy)
        lane = self.lane(queue.number)
        if records:
            self.journal.append(*records)
            if known is not None:
                logger.info("queue %r has a new policy: %s", name, queue.policy)
                # There may be room now, or no use in waiting for it any more.
                lane.wake_putters()
                self.stir(lane)
        return lane

    def lane(self, number: int) -> Lane:
        """The lane of a queue's number."""
        lane = self.lanes.get(number)
        if lane is None:
            lane = self.lanes[number] = Lane(self.state.queues[number], self.loop)
        return lane

    def check_settle_room(self, size_bytes: int) -> None:
        """Raise, before anything changes, if the journal cannot take so many bytes.

        Raises:
            StorageFull: there is no room.
            StorageFailed, BrokerClosed, ForkedProcess: the journal is not in use any more.
        """
        journal = self.journal
        if size_bytes > journal.settle_room:
            if journal.failure is not None:
                raise type(journal.failure)(*journal.failure.args) from journal.failure
            raise StorageFull(
                "the log has no room for this now: the disk is full, or too much was asked for in "
                "one turn of the loop (thousands of new queues, say: await something between); "
                "nothing was changed"
            )

    # records on their way

    def keep(self, records: list[Record], late: Late | None = None) -> Group | None:
        """Give the journal records whose effects are already in the state, and wake who waits.

        ``late`` is what may be seen only when they are durable.
        """
        late = [*(late or ()), *self._moves()]
        group = self.journal.append(*records)
        if group is None:
            self._publish_all(records)
            self._show_late(late)
        elif late:
            group.effects.append(lambda: self._show_late(late))
        for record in records:
            if isinstance(record, Returned):
                self.lane(record.queue).wake_getters(len(record.ids))
                self._came_back(record.queue)
            elif isinstance(record, Moved):
                lane = self.lane(record.target)
                lane.wake_getters(1)
                self.schedule(lane)
                self._came_back(record.target)
        for number in {record.queue for record in records if not isinstance(record, LOG_RECORDS)}:
            lane = self.lane(number)
            lane.left()
            self.schedule(lane)
            self.stir(lane)
        return group

    def _came_back(self, number: int) -> None:
        if self.spiller is not None:
            self.spiller.note(self.state.queues[number])

    def keep_in_parts(self, records: list[Record]) -> None:
        """`keep` for records that need not be on disk together, however many."""
        records = join_returned(records)
        moves = self._moves()
        for start in range(0, len(records), PART_RECORDS):
            last = start + PART_RECORDS >= len(records)
            self.keep(records[start : start + PART_RECORDS], moves if last else None)

    def _moves(self) -> Late:
        """What has moved since the last look, and is to be seen when that is durable."""
        moves = self.state.moves
        if not moves:
            return []
        taken = list(moves)
        moves.clear()
        return taken

    def committed(self, group: Group) -> None:
        """The journal's callback: a group is durable; let what it put be seen."""
        segment, frame = group.segment, group.offset
        for record, offset in zip(group.records, group.offsets, strict=True):
            if isinstance(record, Put):
                if record.carried:
                    continue  # they are seen already
                entries = record.entries
                run = entries[0][0], len(entries), frame, offset
                self._publish(record.queue, entries, (segment, run))
            elif isinstance(record, Copied):
                run = record.entry[0], 1, frame, offset
                self._publish(record.queue, [record.entry], (segment, run))
        for effect in group.effects:
            effect()
        if self.spiller and self.spiller.touched:
            self.loop.call_soon(self.spiller.look)
        if self.compactor is not None:
            self.compactor.committed()

    def _publish_all(self, records: list[Record]) -> None:
        for record in records:
            if isinstance(record, Put):
                self._publish(record.queue, record.entries)
            elif isinstance(record, Copied):
                self._publish(record.queue, [record.entry])

    def _publish(
        self, number: int, entries: list[Entry], place: tuple[int, Run] | None = None
    ) -> None:
        lane = self.lanes[number]
        state, pager = lane.state, self.pager
        if place is None or pager is None or not pager.keeps_out(lane, entries, *place):
            state.publish(entries)
        if entries[0][4] is not None:
            self.schedule(lane)
        if lane.getters or lane.selectors:
            lane.wake_getters(len(entries))

    def _show_late(self, late: Late) -> None:
        for queue, show in late:
            queue.pending -= 1
            show()
            lane = self.lane(queue.number)
            lane.wake_getters(1)
            self.schedule(lane)

    def failed(self, error: PosthouseError) -> None:
        """The journal's callback: it has stopped for good; so does everybody who waits."""
        if self.compactor is not None:
            self.compactor.stop()
        for lane in self.lanes.values():
            lane.fail(error)

    # transactions

    def commit(self, steps: list[transaction.Step]) -> tuple[list[int], Group | None]:
        """Do a transaction's steps, all of them, now: (ids of its puts, group to wait for).

        Raises:
            LeaseExpired, QueueFull: nothing was done.
        """
        trouble = transaction.problem(steps, self.now_ns())
        if trouble is not None:
            raise trouble
        records, late, ids = transaction.commit(
            self.state, steps, self.now_ns(), self.producer, self.sequence + 1
        )
        self.sequence += len(ids)
        for record in records:
            if isinstance(record, (Put, Copied)):
                self.lane(record.queue)
        group = self.keep(records, late)
        for step in steps:
            if isinstance(step, transaction.SettleStep):
                self.lane(step.queue.number).left()
        return ids, group

    # time

    def schedule(self, lane: Lane) -> None:
        """See that the queue's next timed event happens."""
        event_ns = lane.state.next_event_ns()
        if event_ns < lane.scheduled_ns:
            lane.scheduled_ns = event_ns
            heappush(self._agenda, (event_ns, lane.state.number))
            self._arm()

    def _arm(self) -> None:
        if not self._agenda:
            return
        first_ns = self._agenda[0][0]
        if self._timer is not None:
            if first_ns >= self._armed_ns:
                return
            self._timer.cancel()
        self._armed_ns = first_ns
        sleep_ns = min(max(first_ns - self.now_ns(), 0), MOST_SLEEP_NS)
        self._timer = self.loop.call_later(sleep_ns / NANOSECONDS, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now_ns = self.now_ns()
        late_ns = now_ns - self._armed_ns
        self._armed_ns = FOREVER_NS
        agenda = self._agenda
        while agenda and agenda[0][0] <= now_ns:
            event_ns, number = heappop(agenda)
            lane = self.lanes[number]
            if lane.scheduled_ns != event_ns:
                continue  # an earlier event was set after this one and has been handled
            lane.scheduled_ns = FOREVER_NS
            self._happen(lane, now_ns, late_ns)
        self._arm()

    def _happen(self, lane: Lane, now_ns: int, late_ns: int) -> None:
        state = lane.state
        made_due = state.make_due(now_ns)
        if made_due:
            lane.wake_getters(made_due)
        if state.next_deadline_ns <= now_ns:
            self._expire(lane, now_ns, late_ns)
        if state.rich is not None:
            self._expire_waiting(lane, now_ns)
            if state.available(now_ns):
                lane.wake_getters(1)
        event_ns = state.next_event_ns()
        if event_ns < FOREVER_NS:
            step_ns = max(EXPIRY_STEP_NS, len(state.leases) * EXPIRY_STEP_PER_LEASE_NS)
            if event_ns == state.next_deadline_ns:
                # Nothing else that is due meanwhile waits for the next look at the leases.
                event_ns = min(max(event_ns, now_ns + step_ns), state.next_timed_ns())
            if event_ns <= now_ns and self.journal.settle_room < DEATH_BYTES:
                event_ns = now_ns + FULL_DISK_STEP_NS  # what expired has to wait for room
            elif event_ns <= now_ns:
                event_ns = now_ns + 1  # there is more: the loop has its turn first
            lane.scheduled_ns = event_ns
            heappush(self._agenda, (event_ns, state.number))

    def stir(self, lane: Lane) -> None:
        """After a take, a settlement or a policy: wake who may take now, see to what comes later.

        One is woken, and wakes the next by taking: so none is woken for nothing, and none sleeps
        beside a message whose key, rate or slot became free.
        """
        rich = lane.state.rich
        if rich is not None:
            if lane.shut is not None and lane.state.waiting() <= 0:
                lane.fail(lane.shut, joiners=False)
            now_ns = self.tick_ns or self.now_ns()
            if (lane.getters or lane.selectors) and lane.state.available(now_ns):
                lane.wake_getters(1)
            self.schedule(lane)

    def _expire_waiting(self, lane: Lane, now_ns: int) -> None:
        most = min(EXPIRIES, self.journal.settle_room // DEATH_BYTES)
        if most < 1:
            return
        self.keep_in_parts(self.state.expire_waiting(lane.state, now_ns, most))
        if self.pager is not None:
            self.pager.expire(lane, now_ns, most)

    def _expire(self, lane: Lane, now_ns: int, late_ns: int) -> None:
        state = lane.state
        try:
            self.check_settle_room(64 * len(state.leases))
        except StorageFull:
            state.next_deadline_ns = now_ns + FULL_DISK_STEP_NS
            return
        except PosthouseError:
            return  # stopped: whoever waits has been told
        grace_ns = 0
        if late_ns > STALL_NS:
            grace_ns = max(late_ns, state.timeout_ns // 3)
        self.keep_in_parts(self.state.expire(state, now_ns, grace_ns))
        lane.left()

    # life

    def recovered(self, replay: Replay | Rebuild) -> None:
        """Take over what a replay built, and go on from it."""
        records = replay.finish(self.now_ns(), self.producer)
        for number, queue in self.state.queues.items():
            if self.pager is not None:
                self.pager.adopt(queue)
            self._came_back(number)
            self.schedule(self.lane(number))
        self.keep_in_parts(records)

    async def close(self) -> None:
        """Give back what is out, let the journal finish, refuse everything from now on.

        Raises:
            StorageFailed: the journal could not finish; what was acknowledged before is safe.
        """
        journal = self.journal
        if isinstance(journal, ClosedJournal):
            return
        try:
            if journal.failure is None:
                for holder in range(1, self._holders + 1):
                    self._release(holder)
        finally:
            self.refuse(BrokerClosed("the broker is closed; open it again"))
            if self._timer is not None:
                self._timer.cancel()
            if self.compactor is not None:
                self.compactor.stop()
            await journal.close()

    def _release(self, holder: int) -> None:
        self.keep_in_parts(self.state.release_holder(holder))

    def refuse(self, error: PosthouseError) -> None:
        """From now on every call raises ``error``."""
        self.journal = ClosedJournal(error)
        for lane in self.lanes.values():
            lane.fail(error)


def wrong_loop() -> NoReturn:
    """Raise WrongLoop with what to do about it."""
    raise WrongLoop(
        "this handle belongs to another event loop or thread; open a broker of its own there, "
        "or pass the work to the loop that opened it (asyncio.run_coroutine_threadsafe)"
    )


def _after_fork_in_child() -> None:
    # The log's lock is shared with the parent; two writers would destroy it.
    for engine in _engines:
        engine.journal = ClosedJournal(
            ForkedProcess(
                "this handle was opened before the process forked; open the broker in the "
                "child, or start children with the 'spawn' method"
            )
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
