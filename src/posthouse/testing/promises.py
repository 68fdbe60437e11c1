"""The judge of a history: what DESIGN.md promises, checked event by event.

Checked are Jepsen's total-queue (acknowledged <= recovered <= attempted) and what a lease-based
queue adds: fencing tokens, one holder at a time, order, attempts, the dead-letter limit, whole
transactions and batches, delays; and that nothing is said to be settled that comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from posthouse.model import NANOSECONDS
from posthouse.testing.fate import Fate, Policies
from posthouse.testing.trace import (
    Delivered,
    Ended,
    Event,
    Iterating,
    PurgeStarted,
    PutStarted,
    Remaining,
    Restarted,
    SettleStarted,
    Started,
    Taking,
    TransactionStarted,
)
from posthouse.testing.wholeness import Whole, halves, lost

# The engine may let a due message be seen a timer's step late; before that it is not missed.
LATE_NS = NANOSECONDS // 10
NO_TOKEN = 0


@dataclass(slots=True)
class _Open:
    """An operation that has not ended: what started, when, and what it may have changed."""

    event: Started
    position: int
    life: int
    versions: dict[str, int] = field(default_factory=dict)
    waiting: list[Fate] = field(default_factory=list)


@dataclass(slots=True)
class _Soft:
    """A settlement that was accepted, and of which nobody knows yet that it is on disk."""

    position: int
    op: int
    fate: Fate
    version: int
    queue: str
    attempts: int


class Judge:
    """Sees a history's events in order; `verdict` has the broken promises."""

    def __init__(self, max_attempts: Mapping[str, int], dead: Mapping[str, str | None]) -> None:
        self._policies = Policies(dict(max_attempts), dict(dead))
        self._fates: dict[str, Fate] = {}
        self._by_id: dict[str, Fate] = {}
        self._open: dict[int, _Open] = {}
        self._whole: dict[int, Whole] = {}
        self._ends_ns: dict[int, int] = {}
        self._waiting: dict[str, dict[str, Fate]] = {}
        self._iterators: dict[str, int] = {}
        self._takers: dict[str, int] = {}
        self._settled: list[_Soft] = []
        self._found: dict[str, set[str]] = {}
        self._newest_id = ""
        self._now_ns = self._before_ns = 0
        self._position = 0
        self._life = 0
        self._problems: list[str] = []

    def see(self, event: Event) -> None:
        """The next event."""
        self._position += 1
        if event.at_ns is not None and event.at_ns != self._now_ns:
            self._before_ns, self._now_ns = self._now_ns, event.at_ns
        match event:
            case Delivered():
                self._delivered(event)
            case Ended():
                self._ended(event)
            case PutStarted():
                self._put_started(event)
            case SettleStarted():
                self._settle_started(event)
            case TransactionStarted():
                self._transaction_started(event)
            case PurgeStarted():
                self._purge_started(event)
            case Iterating():
                self._iterators[event.queue] = self._iterators.get(event.queue, 0) + event.change
            case Taking():
                self._takers[event.queue] = self._takers.get(event.queue, 0) + event.change
            case Restarted():
                self._restarted(event)
            case Remaining():
                self._remaining(event)

    def verdict(self) -> list[str]:
        """Every broken promise, those of the end included."""
        fates = self._fates
        found = self._found
        return [
            *self._problems,
            *(lost(fate) for fate in fates.values() if self._is_lost(fate)),
            *halves(self._whole.values(), fates, found),
        ]

    def _is_lost(self, fate: Fate) -> bool:
        if not fate.stored or fate.gone != "no":
            return False
        places = set(fate.where) | ({fate.queue} if fate.held else set())
        if not places <= self._found.keys():
            return False  # nobody looked there
        return not any(fate.body in self._found[queue] for queue in self._found)

    def _say(self, text: str) -> None:
        self._problems.append(f"event {self._position}: {text}")

    # puts

    def _put_started(self, event: PutStarted) -> None:
        self._start(event)
        self._whole[event.op] = Whole(event.op, [(event.queue, body) for body in event.bodies], [])
        due_ns = _after(event.at_ns, event.delay_s)
        for body in event.bodies:
            self._new(event.queue, body, event.op, due_ns)

    def _new(self, queue: str, body: str, op: int, due_ns: int | None) -> None:
        if body in self._fates:
            self._say(f"the history is wrong: body {body!r} was put before")
        fate = Fate(body, queue, op, due_ns=due_ns)
        fate.where = {queue: (1, 1)}
        # Ids grow: what is put now has a place behind all that was acknowledged before.
        fate.id = ">" + self._newest_id
        self._fates[body] = fate

    def _put_ended(self, op: int, puts: list[tuple[str, str]], event: Ended) -> None:
        ids = event.ids or [""] * len(puts)
        for (queue, body), message_id in zip(puts, ids, strict=True):
            fate = self._fates[body]
            fate.put = event.outcome
            if event.outcome == "failed" and fate.seen:
                self._say(f"{body!r} was delivered, but its put failed: {event.why}")
            if event.outcome != "done":
                continue
            if message_id:
                self._named(fate, message_id)
            # A delay that was over before the put was accepted: a timer lets it be seen, soon.
            late = fate.due_ns is None or 0 < fate.due_ns <= (event.at_ns or 0)
            if not fate.version and fate.gone == "no" and not late:
                self._waits(queue, fate)

    def _named(self, fate: Fate, message_id: str) -> None:
        if fate.id == message_id:
            return
        if not fate.id.startswith(">"):
            self._say(f"{fate.body!r} has two ids: {fate.id} and {message_id}")
        elif message_id <= fate.id[1:]:
            self._say(f"{fate.body!r} has id {message_id}, but one put before it has {fate.id[1:]}")
        other = self._by_id.get(message_id)
        if other is not None and other is not fate:
            self._say(f"{fate.body!r} and {other.body!r} have the same id {message_id}")
        fate.id = message_id
        self._by_id[message_id] = fate
        self._newest_id = max(self._newest_id, message_id)

    def _waits(self, queue: str, fate: Fate) -> None:
        """The message waits here for certain, and its place in the order is known."""
        if not fate.id.startswith(">"):
            self._waiting.setdefault(queue, {})[fate.id] = fate

    def _waits_not(self, fate: Fate) -> None:
        for queue in (fate.home, fate.queue):
            self._waiting.get(queue, {}).pop(fate.id, None)

    # deliveries

    def _delivered(self, event: Delivered) -> None:
        fate = self._sighted(event.queue, event.body, event.id)
        if fate is None:
            return
        name = f"{event.body!r} of queue {event.queue!r}"
        if event.token <= fate.token:
            self._say(f"{name} was delivered with token {event.token} after {fate.token}")
        self._check_holder(fate, event, name)
        self._check_attempts(fate, event, name)
        if event.at_ns is not None and fate.due_ns and event.at_ns < fate.due_ns:
            early_s = (fate.due_ns - event.at_ns) / NANOSECONDS
            self._say(f"{name} was delivered {early_s:.6f} s before its delay was over")
        self._check_order(fate, event, name)
        self._waits_not(fate)
        if event.queue not in (fate.home, fate.queue):
            fate.native = False
            fate.moved_life = self._life
        fate.token, fate.queue, fate.attempts = event.token, event.queue, event.attempts
        fate.version += 1
        fate.held = True
        fate.settling = 0
        fate.due_ns = 0
        fate.where = self._policies.failed(event.queue, event.attempts)
        if not fate.where:
            fate.may_be_gone(0)
        if event.lease_s is not None and event.at_ns is not None:
            ends_ns = event.at_ns + int(event.lease_s * NANOSECONDS)
            self._ends_ns[event.token] = ends_ns

    def _sighted(self, queue: str, body: str, message_id: str) -> Fate | None:
        fate = self._fates.get(body)
        if fate is None:
            self._say(f"unexpected: {body!r} is in queue {queue!r}, but was never put")
            return None
        self._named(fate, message_id)
        if fate.put == "failed":
            self._say(f"{body!r} is in queue {queue!r}, but its put failed")
        if fate.gone in ("yes", "for ever"):
            self._say(f"{body!r} came back to queue {queue!r} after it was settled")
        if queue not in fate.where and not (fate.held and queue == fate.queue):
            places = ", ".join(sorted(fate.where)) or "none"
            self._say(f"{body!r} is in queue {queue!r}; it can only be in: {places}")
        for op in fate.acking:
            self._whole[op].came_back.append(body)
        fate.was_seen()
        return fate

    def _check_holder(self, fate: Fate, event: Delivered, name: str) -> None:
        ends_ns = self._ends_ns.get(fate.token)
        if not fate.held or fate.settling or ends_ns is None or event.at_ns is None:
            return
        if event.at_ns >= ends_ns:
            return
        left_s = (ends_ns - event.at_ns) / NANOSECONDS
        self._say(f"{name} has two holders: its last lease runs {left_s:.6f} s more")

    def _check_attempts(self, fate: Fate, event: Delivered, name: str) -> None:
        low, high = fate.where.get(event.queue, (1, 1 << 30))
        if not low <= event.attempts <= high:
            right = str(low) if low == high else f"from {low} to {high}"
            self._say(f"{name} was delivered as attempt {event.attempts}; it must be {right}")
        most = self._policies.most(event.queue)
        if event.attempts > most and self._policies.dead(event.queue) != event.queue:
            self._say(f"{name} was delivered as attempt {event.attempts}; the limit is {most}")

    def _check_order(self, fate: Fate, event: Delivered, name: str) -> None:
        if not fate.native or event.queue != fate.home or self._iterators.get(event.queue):
            return
        # By the time before: after a standstill, timers and consumers run in any order.
        due_ns = self._before_ns - LATE_NS
        for message_id, other in self._waiting.get(event.queue, {}).items():
            if message_id < event.id and (not other.due_ns or other.due_ns < due_ns):
                self._say(f"{name} was delivered before {other.body!r}, which waits before it")
                return

    # settlements

    def _settle_started(self, event: SettleStarted) -> None:
        started = self._start(event)
        if event.verb != "extend":
            self._settling(started, event.verb, event.queue, event.id, event.token)

    def _settling(self, started: _Open, verb: str, queue: str, message_id: str, token: int) -> None:
        """What may be true of the message from now on."""
        fate = self._by_id.get(message_id)
        if fate is None:
            self._say(f"the history is wrong: message {message_id} was never delivered")
            return
        started.versions[message_id] = fate.version if fate.token == token else -1
        if fate.token != token:
            return
        fate.settling += 1
        attempts = fate.attempts
        if verb == "ack":
            fate.may_be_gone(started.event.op)
        elif verb == "give_back":
            fate.may_be_in({queue: (attempts, attempts)})
        else:
            where = self._policies.failed(queue, attempts)
            if verb == "reject":
                where = self._policies.buried(queue, attempts)
            fate.may_be_in(where)
            if not where:
                fate.may_be_gone(started.event.op)

    def _settle_ended(self, started: _Open, event: SettleStarted, end: Ended) -> None:
        fate = self._by_id.get(event.id)
        if fate is None:
            return
        if end.outcome == "failed":
            if started.versions.get(event.id) == fate.version:
                fate.settling -= 1
            fate.causes.discard(event.op)
            if fate.gone == "maybe" and not fate.causes:
                fate.gone = "no"
            self._check_expired(started, fate, event, end)
        elif end.outcome == "done":
            if event.verb == "extend":
                self._extended(event, fate)
                return
            # A nack without a delay comes back when its backoff, a random one, is over.
            due_ns = None if event.verb == "nack" and event.delay_s is None else 0
            if event.delay_s:
                due_ns = _after(started.event.at_ns, event.delay_s)
            self._settled_as(started, fate, event, due_ns)
            if event.durable:
                self._firm(started.position, event.op)

    def _extended(self, event: SettleStarted, fate: Fate) -> None:
        if fate.token != event.token:
            self._say(f"{fate.body!r} was extended with token {event.token}, not {fate.token}")
        if event.at_ns is not None and event.delay_s is not None:
            self._ends_ns[event.token] = event.at_ns + int(event.delay_s * NANOSECONDS)

    def _check_expired(self, started: _Open, fate: Fate, event: SettleStarted, end: Ended) -> None:
        ends_ns = self._ends_ns.get(event.token)
        if (
            end.why == "LeaseExpired"
            and fate.held
            and fate.token == event.token
            and started.life == self._life
            and ends_ns is not None
            and end.at_ns is not None
            and end.at_ns < ends_ns
        ):
            left_s = (ends_ns - end.at_ns) / NANOSECONDS
            self._say(
                f"{event.verb} of {fate.body!r} raised LeaseExpired; "
                f"its lease runs {left_s:.6f} s more"
            )

    def _settled_as(
        self, started: _Open, fate: Fate, event: SettleStarted, due_ns: int | None
    ) -> None:
        """A settlement of the newest delivery took effect; ``due_ns`` None: nobody knows when."""
        version = started.versions.get(event.id, -1)
        verb = event.verb
        if version < 0:
            self._say(
                f"{verb} of {fate.body!r} with token {event.token} was accepted, "
                f"but {fate.token} is newer"
            )
            return
        if version != fate.version:
            # Delivered again before the call returned: right for all but an ack.
            if verb == "ack":
                self._say(f"{fate.body!r} was delivered while its ack, which was done, waited")
            return
        if started.life != self._life and not event.durable:
            return
        queue, attempts = event.queue, fate.attempts
        fate.held = False
        if verb == "ack":
            fate.gone = "yes"
            fate.causes = {event.op}
        else:
            if verb == "give_back":
                fate.where = {queue: (attempts, attempts)}
            elif verb == "nack":
                fate.where = self._policies.failed(queue, attempts)
            else:
                fate.where = self._policies.buried(queue, attempts)
            moved = queue not in fate.where
            fate.native = fate.native and not moved
            if not fate.where:
                fate.gone = "yes"
                fate.causes.add(event.op)
            fate.due_ns = 0 if moved else due_ns
            if fate.native and due_ns is not None and verb != "reject":
                self._waits(queue, fate)
        fate.soft.append((queue, attempts))
        soft = _Soft(self._position, event.op, fate, fate.version, queue, attempts)
        self._settled.append(soft)

    def _firm(self, position: int, op: int) -> None:
        """What is durable makes durable all that was accepted before it began."""
        kept: list[_Soft] = []
        for soft in self._settled:
            if soft.position >= position and soft.op != op:
                kept.append(soft)
                continue
            fate = soft.fate
            if (soft.queue, soft.attempts) in fate.soft:
                fate.soft.remove((soft.queue, soft.attempts))
            if fate.version == soft.version and fate.gone == "yes":
                fate.gone = "for ever"
        self._settled = kept

    # transactions

    def _transaction_started(self, event: TransactionStarted) -> None:
        started = self._start(event)
        acks: list[str] = []
        for verb, queue, message_id, token in event.settles:
            self._settling(started, verb, queue, message_id, token)
            fate = self._by_id.get(message_id)
            if verb == "ack" and fate is not None:
                acks.append(fate.body)
                fate.acking.append(event.op)
        self._whole[event.op] = Whole(event.op, list(event.puts), acks)
        for queue, body in event.puts:
            self._new(queue, body, event.op, 0)

    def _transaction_ended(self, started: _Open, event: TransactionStarted, end: Ended) -> None:
        self._put_ended(event.op, event.puts, end)
        for verb, queue, message_id, token in event.settles:
            settle = SettleStarted(verb, queue, message_id, token, durable=True, op=event.op)
            # Why it failed may be another of its steps: not looked into.
            self._settle_ended(started, settle, Ended(end.op, end.outcome))
            fate = self._by_id.get(message_id)
            if fate is not None and end.outcome != "unknown" and event.op in fate.acking:
                fate.acking.remove(event.op)
        if end.outcome == "done":
            self._firm(started.position, event.op)

    # purges

    def _purge_started(self, event: PurgeStarted) -> None:
        started = self._start(event)
        if not self._iterators.get(event.queue):
            started.waiting = list(self._waiting.get(event.queue, {}).values())
        for fate in self._fates.values():
            if event.queue in fate.where and fate.gone in ("no", "maybe"):
                fate.may_be_gone(event.op)
                started.versions[fate.id] = fate.version
        self._waiting.pop(event.queue, None)

    def _purge_ended(self, started: _Open, event: PurgeStarted, end: Ended) -> None:
        if end.outcome == "done":
            for fate in started.waiting:
                if fate.version == started.versions.get(fate.id) and event.op in fate.causes:
                    fate.gone = "for ever"
        elif end.outcome == "failed":
            for fate in self._fates.values():
                fate.causes.discard(event.op)
                if fate.gone == "maybe" and not fate.causes:
                    fate.gone = "no"

    # all operations

    def _start(self, event: Started) -> _Open:
        started = self._open[event.op] = _Open(event, self._position, self._life)
        return started

    def _ended(self, end: Ended) -> None:
        started = self._open.pop(end.op, None)
        if started is None:
            self._say(f"the history is wrong: operation {end.op} ended but never started")
            return
        whole = self._whole.get(end.op)
        if whole is not None:
            whole.outcome = end.outcome
        match started.event:
            case PutStarted() as event:
                self._put_ended(event.op, [(event.queue, body) for body in event.bodies], end)
                if end.outcome == "done":
                    self._firm(started.position, event.op)
            case SettleStarted() as event:
                self._settle_ended(started, event, end)
            case TransactionStarted() as event:
                self._transaction_ended(started, event, end)
            case PurgeStarted() as event:
                self._purge_ended(started, event, end)

    # the end of a life

    def _restarted(self, event: Restarted) -> None:
        self._life += 1
        if event.kind != "close":
            for queue, takers in self._takers.items():
                if takers > 0:
                    self._cut_off(queue)
        self._takers.clear()
        self._iterators.clear()
        for fate in self._fates.values():
            if event.kind == "close":
                self._closed(fate, event.at_ns)
            else:
                self._died(fate, lost_ring=event.kind == "crash")
            fate.soft.clear()
            fate.held = False
        self._settled.clear()
        self._ends_ns.clear()
        # A timer of the new life may let what was delayed be seen a little later.
        for waiting in self._waiting.values():
            for fate in [fate for fate in waiting.values() if fate.due_ns != 0]:
                del waiting[fate.id]

    def _cut_off(self, queue: str) -> None:
        """A taker of the queue was cut off: deliveries may have been counted that nobody saw."""
        for fate in self._fates.values():
            if fate.held or fate.gone in ("yes", "for ever") or queue not in fate.where:
                continue
            where = self._policies.failed(queue, fate.where[queue][1])
            fate.may_be_in(where)
            if not where:
                fate.may_be_gone(0)
            if queue not in where:
                self._waits_not(fate)

    def _closed(self, fate: Fate, at_ns: int | None) -> None:
        if fate.gone == "yes":
            fate.gone = "for ever"
        if not fate.held:
            return
        # Given back, the attempt not counted, unless the lease had run out.
        given_back = {fate.queue: (fate.attempts, fate.attempts)}
        ends_ns = self._ends_ns.get(fate.token)
        if ends_ns is not None and at_ns is not None and at_ns < ends_ns and not fate.settling:
            fate.where = given_back
        else:
            fate.may_be_in(given_back)

    def _died(self, fate: Fate, *, lost_ring: bool) -> None:
        if fate.gone == "yes":
            fate.gone = "maybe"
        undone = list(fate.soft)
        if fate.held:
            undone.append((fate.queue, fate.attempts))
        for queue, attempts in undone:
            # As if that settlement had never been: the delivery ended with its process.
            where = self._policies.failed(queue, attempts)
            fate.may_be_in(where)
            if not where:
                fate.may_be_gone(0)
            if lost_ring:
                fate.may_be_in({queue: (1, min(attempts + 1, self._policies.most(queue)))})
        if fate.soft:
            self._waits_not(fate)
            fate.due_ns = 0
        if lost_ring or fate.moved_life == self._life - 1:
            # A dead letter may be seen before its move is on disk; undone, it takes along what
            # happened to the message there.
            fate.where = {queue: (1, high) for queue, (_, high) in fate.where.items()}

    def _remaining(self, event: Remaining) -> None:
        found: set[str] = set()
        for message_id, body, attempts in event.messages:
            if body in found or any(body in other for other in self._found.values()):
                self._say(f"{body!r} was found twice")
            found.add(body)
            fate = self._sighted(event.queue, body, message_id)
            if fate is None:
                continue
            low, high = fate.where.get(event.queue, (0, 1 << 30))
            if fate.held and event.queue == fate.queue:
                low, high = min(low, fate.attempts), max(high, fate.attempts)
            if not low - 1 <= attempts <= high:
                self._say(
                    f"{body!r} was found in queue {event.queue!r} with {attempts} attempts; "
                    f"it must be from {low - 1} to {high}"
                )
        self._found[event.queue] = found


def _after(at_ns: int | None, delay_s: float | None) -> int | None:
    """When a delay is over: 0 for none, None if nobody can tell."""
    if not delay_s:
        return 0
    return None if at_ns is None else at_ns + int(delay_s * NANOSECONDS)
