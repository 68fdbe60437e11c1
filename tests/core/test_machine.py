"""The core's verbs against a plain model, their invariants, their moves, and their replay."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from posthouse.core import letters, transaction
from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState, Late, deadline_of
from posthouse.core.transitions import TRANSITIONS, Event, Status
from posthouse.errors import LeaseExpired, QueueFull
from posthouse.model import QueuePolicy, Retry
from posthouse.records import (
    Delivered,
    Entry,
    Moved,
    Opened,
    Put,
    Record,
    Returned,
    Settled,
    Traits,
)
from tests.core.plain_model import Held, Item, Plain

MAX_BYTES = 200
NAMES = ("first", "second", "own")
names = st.sampled_from(NAMES)
Verb = Literal["ack", "nack", "reject"]
verbs: st.SearchStrategy[Verb] = st.sampled_from(["ack", "nack", "reject"])
delays = st.sampled_from([0, 0, 1, 5, 40])
timeouts = st.sampled_from([1, 10, 50])
holders = st.sampled_from([1, 2])
bodies = st.binary(max_size=12)
picks = st.integers(0, 1000)

policies = st.builds(
    QueuePolicy,
    retry=st.builds(Retry, max_attempts=st.integers(1, 3), first_s=st.just(3e-9)),
    max_messages=st.sampled_from([None, 1, 3, 8]),
    max_bytes=st.sampled_from([None, 30, 100]),
    dead_letter=st.sampled_from(["own", "first", "", None]),
)


@dataclass
class Group:
    """What becomes durable, and visible, together."""

    puts: list[tuple[QueueState, list[Entry]]] = field(default_factory=list)
    late: Late = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    events: dict[int, Event] = field(default_factory=dict)


class CoreMachine(RuleBasedStateMachine):
    """Every rule does a thing twice: to the core and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.core = BrokerState(MAX_BYTES)
        self.plain = Plain(MAX_BYTES)
        self.now_ns = 1_000
        self.last_number = 0
        self.last_token = 0
        self.records: list[Record] = []
        self.groups: list[Group] = []
        self.sequence = 0
        self.delivered: list[tuple[str, int, int]] = []
        self.seen: dict[int, tuple[str, Status]] = {}
        self.counts: dict[str, dict[str, int]] = {}
        self.reserved_entries: dict[int, Entry] = {}

    @initialize(data=st.data())
    def declare_all(self, data: st.DataObject) -> None:
        for name in NAMES:
            self.declare(name, data.draw(policies))

    def declare(self, name: str, policy: QueuePolicy) -> None:
        _, records = self.core.declare(name, policy)
        self.records += records
        self.plain.policies[name] = policy
        self.moved()

    def queue(self, name: str) -> QueueState:
        return self.core.by_name[name]

    @rule(name=names, policy=policies)
    def change_policy(self, name: str, policy: QueuePolicy) -> None:
        self.declare(name, policy)

    @rule(step=st.sampled_from([1, 3, 20, 100]))
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    # put

    @rule(
        name=names,
        contents=st.lists(bodies, min_size=1, max_size=4),
        headers=st.sampled_from([b"", b"hh"]),
        delay=delays,
        way=st.sampled_from(["plain", "one", "many"]),
        hold=st.booleans(),
    )
    def put(
        self, name: str, contents: list[bytes], headers: bytes, delay: int, way: str, hold: bool
    ) -> None:
        queue = self.queue(name)
        traits = Traits(due_ns=self.now_ns + delay) if delay else None
        if way == "plain":
            contents, headers, traits = contents[:1], b"", None
        elif way == "one":
            contents = contents[:1]
        size = sum(map(len, contents)) + len(contents) * len(headers)
        fits = self.plain.fits(name, len(contents), size)
        assert queue.fits(len(contents), size) == fits
        entries: list[Entry] | None
        if way == "many":
            entries = queue.put_many(self.now_ns, 2, contents, size, headers, traits)
        elif way == "one":
            entry = queue.put_one(self.now_ns, 2, contents[0], headers, traits)
            entries = None if entry is None else [entry]
        else:
            entry = queue.put_plain(self.now_ns, 2, contents[0], False)
            entries = None if entry is None else [entry]
        assert (entries is not None) == fits
        if entries is None:
            self.moved()
            return
        assert [entry[1:] for entry in entries] == [(2, b, headers, traits) for b in contents]
        self.sequence += 1
        self.records.append(Put(queue.number, 1, self.sequence, entries))
        group = Group(puts=[(queue, entries)])
        for entry in entries:
            group.items.append(self.accepted(name, entry))
        self.groups.append(group)
        if not hold:
            self.commit_groups()
        self.moved(Event.COMMIT)

    def accepted(self, name: str, entry: Entry) -> Item:
        self.new_number(entry[0])
        due_ns = 0 if entry[4] is None else entry[4].due_ns
        item = Item(entry[0], entry[0], name, entry[2], entry[3], Status.PENDING, due_ns)
        self.plain.items.append(item)
        self.count(name, "put")
        return item

    def new_number(self, number: int) -> None:
        assert number > self.last_number
        self.last_number = number

    @precondition(lambda self: self.groups)
    @rule()
    def commit(self) -> None:
        self.commit_groups()
        self.moved(Event.COMMIT)

    def commit_groups(self) -> None:
        """Everything that was held becomes durable, in its order."""
        for group in self.groups:
            for queue, entries in group.puts:
                queue.publish(entries)
            for queue, show in group.late:
                queue.pending -= 1
                show()
            for item in group.items:
                item.status = Status.DELAYED if item.due_ns else Status.WAITING
            for message_id, event in group.events.items():
                self.check_move(message_id, {event})
        self.groups.clear()

    # take

    @rule(name=names, timeout=timeouts, holder=holders)
    def take_one(self, name: str, timeout: int, holder: int) -> None:
        expected = self.plain.takeable(name)[:1]
        taken = self.queue(name).take_one(self.now_ns, timeout, holder)
        if taken is None:
            assert not expected
        else:
            token, entry, attempts = taken
            self.check_taken(name, expected, token, [entry], [attempts], timeout, holder)
        self.moved(Event.TAKE)

    @rule(
        name=names,
        most=st.integers(1, 5),
        most_bytes=st.sampled_from([1, 10, 1000]),
        timeout=timeouts,
        holder=holders,
    )
    def take_many(self, name: str, most: int, most_bytes: int, timeout: int, holder: int) -> None:
        expected = self.within(self.plain.takeable(name)[:most], most_bytes)
        taken = self.queue(name).take_many(most, most_bytes, self.now_ns, timeout, holder)
        if taken is None:
            assert not expected
        else:
            token, lease = taken
            attempts = lease.attempts or [1] * len(lease.entries)
            assert lease.ids == [entry[0] for entry in lease.entries]
            self.check_taken(name, expected, token, lease.entries, attempts, timeout, holder)
        self.moved(Event.TAKE)

    @staticmethod
    def within(items: list[Item], most_bytes: int) -> list[Item]:
        kept, total = items[:1], sum(item.size for item in items[:1])
        for item in items[1:]:
            total += item.size
            if total > most_bytes:
                break
            kept.append(item)
        return kept

    def check_taken(
        self,
        name: str,
        expected: list[Item],
        token: int,
        entries: list[Entry],
        attempts: list[int],
        timeout: int,
        holder: int,
    ) -> None:
        assert token > self.last_token
        self.last_token = token
        assert [self.shown(entry) for entry in entries] == [
            (item.id, item.rank, item.body, item.headers) for item in expected
        ]
        assert attempts == [item.attempts + 1 for item in expected]
        for item in expected:
            self.plain.take(item, Held(token, self.now_ns + timeout, holder))
            self.delivered.append((name, token, item.id))
        ranks = [item.rank for item in expected]
        self.records.append(Delivered(self.queue(name).number, ranks, attempts))

    @staticmethod
    def shown(entry: Entry) -> tuple[int, int, bytes, bytes]:
        return entry[0], rank_of(entry), entry[2], entry[3]

    @rule(name=names, most=st.integers(1, 4))
    def reserve(self, name: str, most: int) -> None:
        queue = self.queue(name)
        expected = self.plain.takeable(name)[:most]
        entries = queue.pop_many(most, 1 << 40, self.now_ns)
        queue.reserved += len(entries)
        assert [entry[0] for entry in entries] == [item.id for item in expected]
        for item in expected:
            item.reserved = True
        self.reserved_entries.update({entry[0]: entry for entry in entries})
        self.moved()

    def reserved_items(self) -> list[Item]:
        return [item for item in self.plain.items if item.reserved]

    @precondition(lambda self: self.reserved_items())
    @rule(pick=picks, timeout=timeouts, holder=holders)
    def lease_reserved(self, pick: int, timeout: int, holder: int) -> None:
        items = self.reserved_items()
        item = items[pick % len(items)]
        queue = self.queue(item.queue)
        queue.reserved -= 1
        entry = self.reserved_entries.pop(item.id)
        token, same, attempts = queue.lease_one(entry, self.now_ns, timeout, holder)
        self.check_taken(item.queue, [item], token, [same], [attempts], timeout, holder)
        self.moved(Event.TAKE)

    @precondition(lambda self: self.reserved_items())
    @rule(name=names)
    def restore(self, name: str) -> None:
        items = [item for item in self.reserved_items() if item.queue == name]
        queue = self.queue(name)
        queue.reserved -= len(items)
        queue.restore([self.reserved_entries.pop(item.id) for item in items])
        for item in items:
            item.reserved = False
        self.moved()

    # settle: also with deliveries that are over

    def pick_delivery(self, pick: int) -> tuple[str, int, int]:
        """Any delivery there ever was; mostly one that still holds."""
        held = [each for each in self.delivered[-30:] if self.plain.held(*each)]
        among = held if held and pick % 4 else self.delivered[-12:]
        return among[pick % len(among)]

    @precondition(lambda self: self.delivered)
    @rule(pick=picks)
    def ack_one(self, pick: int) -> None:
        name, token, message_id = self.pick_delivery(pick)
        item = self.plain.held(name, token, message_id)
        queue = self.queue(name)
        assert queue.holds(token, message_id) == (item is not None)
        assert queue.attempts_of(token, message_id) == (0 if item is None else item.attempts)
        assert queue.ack_one(token, message_id) == (item is not None)
        if item is not None:
            self.plain.gone(item)
            self.count(name, "acked")
            self.records.append(Settled(queue.number, [message_id]))
        self.moved(Event.ACK)

    @precondition(lambda self: self.delivered)
    @rule(pick=picks, whole=st.booleans())
    def ack_batch(self, pick: int, whole: bool) -> None:
        name, token, _ = self.pick_delivery(pick)
        items = self.plain.with_token(name, token)
        ids = [message_id for q, t, message_id in self.delivered if (q, t) == (name, token)]
        ids = ids if whole else ids[:-1]
        queue = self.queue(name)
        done = queue.ack_batch(token, ids)
        if not done:
            held = [message_id for message_id in ids if queue.ack_one(token, message_id)]
            assert held == [item.id for item in items if item.id in ids]
        else:
            held = ids
            assert ids == [item.id for item in items]
        for message_id in held:
            self.plain.gone(next(item for item in items if item.id == message_id))
            self.count(name, "acked")
        if held:
            self.records.append(Settled(queue.number, held))
        self.moved(Event.ACK)

    @precondition(lambda self: self.delivered)
    @rule(pick=picks, delay=delays)
    def nack(self, pick: int, delay: int) -> None:
        name, token, message_id = self.pick_delivery(pick)
        due_ns = self.now_ns + delay if delay else 0
        item = self.plain.held(name, token, message_id)
        records = self.core.nack(self.queue(name), token, message_id, self.now_ns, due_ns, "error")
        if item is None:
            assert records is None
        else:
            self.failed_once(item, due_ns, records)
        self.moved(Event.NACK, Event.NACK_LATER, Event.EXHAUST)

    def failed_once(self, item: Item, due_ns: int, records: list[Record] | None) -> None:
        name, attempts = item.queue, item.attempts
        what = self.plain.fail(item, due_ns)
        self.check_records(what, name, item, attempts, due_ns, records)

    def check_records(
        self,
        what: str,
        name: str,
        item: Item,
        attempts: int,
        due_ns: int,
        records: list[Record] | None,
    ) -> None:
        """The core's records must say what the model did."""
        assert records is not None
        self.records += records
        number = self.queue(name).number
        last = records[-1]
        if what == "back":
            assert records == [Returned(number, [item.id], [attempts], [due_ns])]
            self.count(name, "returned")
        elif what == "gone":
            assert records == [Settled(number, [item.id])]
            self.count(name, "dropped")
        else:
            assert isinstance(last, Moved)
            assert (last.queue, last.id) == (number, item.id)
            assert last.target == self.queue(item.queue).number
            assert letters.origin_of(last.traits.death) == name
            headers = msgspec.msgpack.decode(last.traits.death)
            assert headers[letters.ATTEMPTS] == str(attempts)
            self.new_number(last.traits.rank)
            item.rank = last.traits.rank
            self.count(name, "dead_lettered")

    @precondition(lambda self: self.delivered)
    @rule(pick=picks)
    def reject(self, pick: int) -> None:
        name, token, message_id = self.pick_delivery(pick)
        item = self.plain.held(name, token, message_id)
        queue = self.queue(name)
        records = self.core.reject(queue, token, message_id, self.now_ns, "reason", None)
        if item is None:
            assert records is None
        else:
            self.rejected(item, records)
        self.moved(Event.REJECT, Event.NACK, Event.NACK_LATER)

    def rejected(self, item: Item, records: list[Record] | None) -> None:
        name, attempts = item.queue, item.attempts
        what = self.plain.bury(item)
        due_ns = 0
        if what is None:
            due_ns = self.now_ns + self.plain.policies[name].retry.delay_ns(attempts, 1.0)
            self.plain.back(item, due_ns)
            what = "back"
        self.check_records(what, name, item, attempts, due_ns, records)

    @precondition(lambda self: self.delivered)
    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        name, token, message_id = self.pick_delivery(pick)
        item = self.plain.held(name, token, message_id)
        records = self.core.give_back(self.queue(name), token, message_id)
        if item is None:
            assert records is None
        else:
            self.plain.give_back(item)
            number = self.queue(name).number
            assert records == [Returned(number, [item.id], [item.attempts], [0])]
            self.records += records
        self.moved(Event.GIVE_BACK)

    @rule(holder=holders)
    def release_holder(self, holder: int) -> None:
        items = [i for i in self.plain.items if i.held is not None and i.held.holder == holder]
        records = self.core.release_holder(holder)
        assert sum(len(r.ids) for r in records if isinstance(r, Returned)) == len(items)
        self.records += records
        for item in items:
            self.plain.give_back(item)
        self.moved(Event.GIVE_BACK)

    @precondition(lambda self: self.delivered)
    @rule(pick=picks, timeout=timeouts)
    def extend(self, pick: int, timeout: int) -> None:
        name, token, _ = self.pick_delivery(pick)
        items = self.plain.with_token(name, token)
        assert self.queue(name).extend(token, self.now_ns + timeout) == bool(items)
        for item in items:
            assert item.held is not None
            item.held.deadline_ns = self.now_ns + timeout
        self.moved()

    # time

    @rule(name=names, grace=st.sampled_from([0, 0, 0, 7]))
    def expire(self, name: str, grace: int) -> None:
        queue = self.queue(name)
        due = [
            item
            for item in self.plain.of(name)
            if item.held is not None and item.held.deadline_ns <= self.now_ns
        ]
        records = self.core.expire(queue, self.now_ns, grace)
        assert queue.next_deadline_ns == min(
            map(deadline_of, queue.leases.values()), default=1 << 63
        )
        if grace:
            assert records == []
            for item in due:
                assert item.held is not None
                item.held.deadline_ns = self.now_ns + grace
            self.moved()
            return
        by_id = {self.message_of(record): record for record in records if self.message_of(record)}
        assert len(by_id) == len(due)
        extra = [record for record in records if not self.message_of(record)]
        self.records += extra
        order = list(by_id)
        for item in sorted(due, key=lambda item: order.index(item.id)):
            self.count(name, "expired_leases")
            self.failed_once(item, 0, [by_id[item.id]])
        self.moved(Event.EXPIRE, Event.EXHAUST)

    @staticmethod
    def message_of(record: Record) -> int:
        if isinstance(record, (Returned, Settled)):
            return record.ids[0]
        return record.id if isinstance(record, Moved) else 0

    @rule(name=names)
    def make_due(self, name: str) -> None:
        assert self.queue(name).make_due(self.now_ns) == self.plain.make_due(name, self.now_ns)
        self.moved(Event.DUE)

    # many at once

    @rule(name=names)
    def purge(self, name: str) -> None:
        items = [*self.plain.takeable(name), *self.plain.of(name, Status.DELAYED)]
        count, records = self.core.purge(self.queue(name))
        assert count == len(items)
        assert sorted(i for r in records if isinstance(r, Settled) for i in r.ids) == sorted(
            item.id for item in items
        )
        self.records += records
        for item in items:
            self.plain.gone(item)
            self.count(name, "purged")
        self.moved(Event.PURGE)

    @rule(
        puts=st.lists(st.tuples(names, bodies, delays), max_size=3),
        settles=st.lists(st.tuples(picks, verbs, delays), max_size=3),
        hold=st.booleans(),
        settles_first=st.booleans(),
    )
    def transact(
        self,
        puts: list[tuple[str, bytes, int]],
        settles: list[tuple[int, Verb, int]],
        hold: bool,
        settles_first: bool,
    ) -> None:
        steps: list[transaction.Step] = []
        chosen: list[tuple[transaction.SettleStep, Item | None]] = []
        for pick, verb, delay in settles if self.delivered else []:
            name, token, message_id = self.pick_delivery(pick)
            due_ns = self.now_ns + delay if delay and verb == "nack" else 0
            step = transaction.SettleStep(
                self.queue(name),
                verb,
                token,
                message_id,
                due_ns,
                "reason",
                "error",
            )
            chosen.append((step, self.plain.held(name, token, message_id)))
        steps += [step for step, _ in chosen]
        put_steps: list[transaction.Step] = [
            transaction.PutStep(
                self.queue(name), 2, body, b"", Traits(due_ns=self.now_ns + d) if d else None
            )
            for name, body, d in puts
        ]
        steps = [*steps, *put_steps] if settles_first else [*put_steps, *steps]
        trouble = transaction.problem(steps)
        targets = [(step.token, step.message_id) for step, _ in chosen]
        if any(item is None for _, item in chosen) or len(set(targets)) < len(targets):
            assert isinstance(trouble, LeaseExpired)
        elif not self.has_room(puts, chosen):
            assert isinstance(trouble, QueueFull)
        else:
            assert trouble is None
            self.commit_transaction(steps, hold)
        self.moved(Event.COMMIT, Event.ACK)

    def has_room(
        self,
        puts: list[tuple[str, bytes, int]],
        chosen: list[tuple[transaction.SettleStep, Item | None]],
    ) -> bool:
        for name in {name for name, _, _ in puts}:
            count = sum(1 for n, _, _ in puts if n == name)
            size = sum(len(body) for n, body, _ in puts if n == name)
            for step, item in chosen:
                if item is None or item.queue != name:
                    continue
                policy = self.plain.policies[name]
                dies = step.verb == "reject" or (
                    step.verb == "nack" and item.attempts >= policy.retry.max_attempts
                )
                if step.verb == "ack" or (dies and self.plain.dead_letter_queue(name) != name):
                    count, size = count - 1, size - item.size
            if (count > 0 or size > 0) and not self.plain.fits(name, count, size):
                return False
        return True

    def commit_transaction(self, steps: list[transaction.Step], hold: bool) -> None:
        records, late, ids = transaction.commit(self.core, steps, self.now_ns, 1, self.sequence + 1)
        group = Group(late=late)
        left = list(records)
        for step in steps:
            # What the dead-letter queue's first use declares comes before the step's own record.
            while not isinstance(left[0], Put) and not self.message_of(left[0]):
                self.records.append(left.pop(0))
            record = left.pop(0)
            if isinstance(step, transaction.PutStep):
                assert isinstance(record, Put)
                self.sequence += 1
                assert record.sequence == self.sequence
                assert ids.pop(0) == record.entries[0][0]
                self.records.append(record)
                group.puts.append((step.queue, record.entries))
                group.items.append(self.accepted(step.queue.name, record.entries[0]))
                continue
            self.settle_in_transaction(step, record, group)
        assert not left
        assert not ids
        self.groups.append(group)
        if not hold:
            self.commit_groups()

    def settle_in_transaction(
        self, step: transaction.SettleStep, record: Record, group: Group
    ) -> None:
        item = self.plain.held(step.queue.name, step.token, step.message_id)
        assert item is not None
        if step.verb == "ack":
            assert record == Settled(step.queue.number, [item.id])
            self.records.append(record)
            self.plain.gone(item)
            self.count(step.queue.name, "acked")
            return
        if step.verb == "nack":
            self.failed_once(item, step.due_ns, [record])
            event = Event.NACK_LATER if step.due_ns else Event.NACK
        else:
            self.rejected(item, [record])
            event = Event.REJECT
        if isinstance(record, Settled):
            event = Event.EXHAUST if step.verb == "nack" else Event.REJECT
            self.check_move(item.id, {event})
            return
        if isinstance(record, Moved) and step.verb == "nack":
            event = Event.EXHAUST
        if isinstance(record, Returned) and step.verb == "reject":
            event = Event.NACK_LATER if item.due_ns else Event.NACK
        group.items.append(item)
        group.events[item.id] = event
        item.status = Status.PENDING

    # restart

    @rule(go_on=st.booleans())
    def restart(self, go_on: bool) -> None:
        """Replay of the records gives what the model says is left."""
        fresh = BrokerState(MAX_BYTES)
        replay = Replay(fresh)
        for record in self.records:
            replay.apply(record)
        kept = self.core, self.plain
        if not go_on:
            self.plain = Plain(MAX_BYTES)
            self.plain.policies = dict(kept[1].policies)
            self.plain.items = [
                Item(**{f: getattr(item, f) for f in item.__dataclass_fields__})
                for item in kept[1].items
            ]
        last_number = self.last_number
        counts = self.counts
        records_so_far = len(self.records)
        self.core, self.counts = fresh, {}
        self.finish_replay(replay)
        self.check_everything(pending={})
        if go_on:
            self.core.numbers.last_token = self.last_token
            self.groups.clear()
            self.reserved_entries.clear()
            self.seen = self.statuses()
            return
        self.core, self.plain = kept
        self.last_number, self.counts = last_number, counts
        del self.records[records_so_far:]

    def finish_replay(self, replay: Replay) -> None:
        exhausted = self.plain.restart(self.now_ns)
        records = replay.finish(self.now_ns)
        by_id = {self.message_of(record): record for record in records if self.message_of(record)}
        judged = [record for record in records if isinstance(record, Opened)]
        records = [record for record in records if not isinstance(record, Opened)]
        self.records += [record for record in records if not self.message_of(record)]
        order = list(by_id)
        name_of = {item.id: item.queue for item in exhausted}
        for item in exhausted:
            if self.plain.bury(item) is not None:
                assert item.id in by_id
        for item in sorted(
            (item for item in exhausted if item.id in by_id), key=lambda item: order.index(item.id)
        ):
            record = by_id.pop(item.id)
            self.records.append(record)
            if isinstance(record, Moved):
                self.new_number(record.traits.rank)
                item.rank = record.traits.rank
            self.count(
                name_of[item.id], "dead_lettered" if isinstance(record, Moved) else "dropped"
            )
        assert not by_id
        self.records += judged

    # what must hold after every step

    def statuses(self) -> dict[int, tuple[str, Status]]:
        """Where the core has each message."""
        found: dict[int, tuple[str, Status]] = {}

        def add(message_id: int, queue: QueueState, status: Status) -> None:
            assert message_id not in found, "a message is in one place"
            found[message_id] = (queue.name, status)

        for group in self.groups:
            for queue, entries in group.puts:
                for entry in entries:
                    add(entry[0], queue, Status.PENDING)
            for message_id in group.events:
                found[message_id] = self.seen[message_id]
        for queue in self.core.queues.values():
            for entry in queue.entries():
                add(entry[0], queue, Status.WAITING)
            for _, _, entry in queue.delayed:
                add(entry[0], queue, Status.DELAYED)
            for lease in queue.leases.values():
                ids = list(lease.pairs()) if isinstance(lease, BatchLease) else [lease[2][0]]
                for message_id in ids:
                    add(message_id, queue, Status.IN_FLIGHT)
        for item in self.reserved_items():
            add(item.id, self.queue(item.queue), Status.WAITING)
        return found

    def moved(self, *events: Event) -> None:
        """Every message that changed its place did so by a row of the table."""
        now = self.statuses()
        for message_id in self.seen.keys() | now.keys():
            if self.seen.get(message_id) != now.get(message_id):
                self.check_move(message_id, set(events), now)
        self.seen = now

    def check_move(
        self,
        message_id: int,
        events: set[Event],
        now: dict[int, tuple[str, Status]] | None = None,
    ) -> None:
        before = self.seen.get(message_id)
        after = (now or self.now_with(message_id)).get(message_id)
        self.seen.pop(message_id, None)
        if after is not None:
            self.seen[message_id] = after
        if before is None:
            assert after is not None
            if after[1] is Status.PENDING:
                return  # a put
            before = (after[0], Status.PENDING)  # put and committed in one step
        status = Status.GONE if after is None else after[1]
        moves = after is not None and after[0] != before[0]
        rows = [(row.status, row.event, row.after, row.moves) for row in TRANSITIONS]
        possible = [(before[1], event, status, moves) for event in events]
        assert any(move in rows for move in possible), (message_id, before, after, events)

    def now_with(self, message_id: int) -> dict[int, tuple[str, Status]]:
        for queue in self.core.queues.values():
            for entry in queue.entries():
                if entry[0] == message_id:
                    return {message_id: (queue.name, Status.WAITING)}
            for _, _, entry in queue.delayed:
                if entry[0] == message_id:
                    return {message_id: (queue.name, Status.DELAYED)}
        return {}

    def count(self, name: str, what: str) -> None:
        counts = self.counts.setdefault(name, {})
        counts[what] = counts.get(what, 0) + 1

    @invariant()
    def everything_agrees(self) -> None:
        pending: dict[str, int] = {}
        for item in self.plain.items:
            if item.status is Status.PENDING:
                pending[item.queue] = pending.get(item.queue, 0) + 1
        self.check_everything(pending)

    def check_everything(self, pending: dict[str, int]) -> None:
        assert set(self.core.by_name) == set(self.plain.policies)
        for name, queue in self.core.by_name.items():
            assert queue.policy == self.plain.policies[name]
            items = self.plain.of(name)
            waiting = self.plain.takeable(name)
            delayed = self.plain.of(name, Status.DELAYED)
            flying = self.plain.of(name, Status.IN_FLIGHT)
            reserved = [item for item in items if item.reserved]
            # 1. live counts everything
            assert queue.live == len(items)
            assert queue.pending == pending.get(name, 0)
            assert queue.reserved == len(reserved)
            assert queue.waiting() == len(waiting)
            assert queue.in_flight() == len(flying)
            assert queue.size_bytes == sum(item.size for item in items)
            # 2. and 3. the order, as it is kept and as it is told
            ranks = [rank_of(entry) for entry in queue.ready]
            assert ranks == sorted(set(ranks))
            assert [self.shown(entry) for entry in queue.entries()] == [
                (item.id, item.rank, item.body, item.headers) for item in waiting
            ]
            assert sorted((due, rank) for due, rank, _ in queue.delayed) == sorted(
                (item.due_ns, item.rank) for item in delayed
            )
            # 4. attempts of what is not in flight
            assert queue.attempts == {
                item.rank: item.attempts
                for item in items
                if item.attempts and item.status in (Status.WAITING, Status.DELAYED)
            }
            # 5. the deadlines
            deadlines = {token: deadline_of(lease) for token, lease in queue.leases.items()}
            assert deadlines == {
                item.held.token: item.held.deadline_ns for item in flying if item.held is not None
            }
            assert all(queue.next_deadline_ns <= deadline for deadline in deadlines.values())
            self.check_stats(queue)

    def check_stats(self, queue: QueueState) -> None:
        stats = self.core.stats(queue, self.now_ns)
        counts = self.counts.get(queue.name, {})
        for what in (
            "put",
            "acked",
            "returned",
            "expired_leases",
            "dead_lettered",
            "dropped",
            "purged",
        ):
            assert getattr(stats, what) == counts.get(what, 0), what


CoreMachine.TestCase.settings = settings(
    max_examples=250,
    stateful_step_count=40,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # "explain" takes minutes
)
TestCoreMachine = CoreMachine.TestCase
