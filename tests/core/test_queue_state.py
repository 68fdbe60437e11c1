"""Single cases of a queue's state that random walks reach seldom."""

from __future__ import annotations

import pytest

from posthouse.core import transaction
from posthouse.core.orders import rank_of
from posthouse.core.queue import Numbers, QueueState
from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState, deadline_of
from posthouse.errors import BrokerBug, LeaseExpired, QueueFull
from posthouse.model import FOREVER_NS, QueuePolicy, Retry
from posthouse.records import (
    Declared,
    Delivered,
    Entry,
    Moved,
    Opened,
    Put,
    Record,
    Returned,
    Settled,
)


def make(policy: QueuePolicy | None = None) -> tuple[BrokerState, QueueState]:
    state = BrokerState()
    queue, _ = state.declare("q", policy)
    return state, queue


def put(queue: QueueState, now_ns: int, body: bytes = b"x") -> Entry:
    entry = queue.put_plain(now_ns, 2, body, True)
    assert entry is not None
    return entry


def test_ids_grow_though_the_clock_stands_still_or_goes_back() -> None:
    numbers = Numbers()
    assert [numbers.next_id(now) for now in (100, 100, 50, 101, 200)] == [100, 101, 102, 103, 200]
    queue = QueueState(1, "q", QueuePolicy(), numbers)
    assert put(queue, 1)[0] == 201
    entries = queue.put_many(1, 2, [b"a", b"b"], 2, b"", None)
    assert entries is not None
    assert [entry[0] for entry in entries] == [202, 203]
    assert put(queue, 1)[0] == 204


def test_the_last_place_and_the_last_byte() -> None:
    _, queue = make(QueuePolicy(max_messages=2, max_bytes=10))
    put(queue, 1, b"x" * 10)
    assert queue.put_plain(2, 2, b"x", True) is None
    assert queue.put_one(2, 2, b"", b"h", None) is None
    put(queue, 2, b"")
    assert queue.put_plain(3, 2, b"", True) is None
    assert queue.put_many(3, 2, [b""], 0, b"", None) is None
    assert (queue.live, queue.size_bytes) == (2, 10)
    assert queue.could_fit(2, 10)
    assert not queue.could_fit(3, 0)
    assert not queue.could_fit(1, 11)


def test_a_batch_is_taken_within_its_bytes_but_for_the_first() -> None:
    _, queue = make()
    for size in (50, 10, 10, 10):
        put(queue, 1, b"x" * size)
    taken = queue.take_many(10, 30, 5, 100, 1)
    assert taken is not None
    assert [len(entry[2]) for entry in taken[1].entries] == [50]
    taken = queue.take_many(10, 20, 5, 100, 1)
    assert taken is not None
    assert len(taken[1].ids) == 2
    assert [len(entry[2]) for entry in queue.entries()] == [10]


def test_what_moves_in_does_not_overtake_an_older_put() -> None:
    state, queue = make(QueuePolicy(dead_letter="dead"))
    dead, _ = state.declare("dead", None)
    put(queue, 10)
    taken = queue.take_one(11, 100, 1)
    assert taken is not None
    older = dead.put_plain(12, 2, b"older", False)
    assert older is not None
    state.reject(queue, taken[0], taken[1][0], 13, "reason", None)
    dead.publish([older])
    order = [dead.take_one(14, 100, 1) for _ in range(2)]
    assert [each[1][2] for each in order if each is not None] == [b"older", b"x"]


def test_a_wrong_id_under_a_right_token() -> None:
    state, queue = make()
    entry = put(queue, 1)
    other = put(queue, 2)
    taken = queue.take_one(3, 100, 1)
    assert taken is not None
    token = taken[0]
    assert not queue.ack_one(token, other[0])
    assert not queue.holds(token, other[0])
    assert queue.release(token, other[0]) is None
    assert state.nack(queue, token, other[0], 4, 0, None) is None
    assert queue.holds(token, entry[0])
    assert queue.ack_one(token, entry[0])
    assert not queue.ack_one(token, entry[0])
    assert queue.live == 1


def test_a_lease_ends_with_its_last_message() -> None:
    _, queue = make()
    for now in range(3):
        put(queue, now)
    taken = queue.take_many(3, 1000, 5, 100, 1)
    assert taken is not None
    token, lease = taken
    assert not queue.ack_batch(token, lease.ids[:2])
    for number in lease.ids:
        assert queue.ack_one(token, number)
    assert queue.leases == {}
    assert not queue.extend(token, 1000)
    assert not queue.ack_batch(token, lease.ids)


def test_prolonging_leases_touches_only_the_younger() -> None:
    state, queue = make()
    other, _ = state.declare("other", None)
    for each in (queue, queue, other):
        put(each, 1)
    old = queue.take_one(10, 100, 1)
    young, younger = queue.take_one(10, 100, 1), other.take_many(1, 10, 10, 100, 1)
    assert old is not None
    assert young is not None
    assert younger is not None
    state.prolong(old[0], 30)
    deadlines = {
        token: deadline_of(lease) for each in (queue, other) for token, lease in each.leases.items()
    }
    assert deadlines == {old[0]: 110, young[0]: 140, younger[0]: 140}
    assert state.expire(queue, 110, 0) != []
    assert list(queue.leases) == [young[0]]


def test_grace_moves_deadlines_instead() -> None:
    state, queue = make()
    put(queue, 1)
    taken = queue.take_one(10, 100, 1)
    assert taken is not None
    assert state.expire(queue, 109, 0) == []
    assert queue.next_deadline_ns == 110
    assert state.expire(queue, 500, 50) == []
    assert queue.next_deadline_ns == 550
    assert len(state.expire(queue, 550, 0)) == 1
    assert queue.next_deadline_ns == FOREVER_NS
    assert queue.expired_leases == 1


def test_a_message_settled_twice_in_one_transaction() -> None:
    _, queue = make()
    entry = put(queue, 1)
    taken = queue.take_one(2, 100, 1)
    assert taken is not None
    step = transaction.SettleStep(queue, "ack", taken[0], entry[0])
    again = transaction.SettleStep(queue, "nack", taken[0], entry[0])
    assert transaction.problem([step]) is None
    assert isinstance(transaction.problem([step, again]), LeaseExpired)


def test_room_that_a_transaction_frees() -> None:
    _, queue = make(QueuePolicy(max_messages=1, retry=Retry(max_attempts=1)))
    entry = put(queue, 1)
    taken = queue.take_one(2, 100, 1)
    assert taken is not None
    new = transaction.PutStep(queue, 2, b"y", b"", None)
    for verb in ("ack", "reject", "nack"):
        step = transaction.SettleStep(queue, verb, taken[0], entry[0])
        assert transaction.problem([new, step]) is None
        assert isinstance(transaction.problem([new, new, step]), QueueFull)
    queue.set_policy(QueuePolicy(max_messages=1), 1000)
    step = transaction.SettleStep(queue, "nack", taken[0], entry[0])
    assert isinstance(transaction.problem([new, step]), QueueFull), "it comes back: no room"


def test_replay_buries_only_what_was_in_flight() -> None:
    state, queue = make(QueuePolicy(retry=Retry(max_attempts=3)))
    records: list[Record] = [Declared(1, "q", queue.policy)]
    waiting, held = put(queue, 1, b"waiting"), put(queue, 2, b"held")
    records += [Put(1, 1, 1, [waiting]), Put(1, 1, 2, [held])]
    for _ in range(2):
        taken = queue.take_one(10, 100, 1)
        assert taken is not None
        records.append(Delivered(1, [taken[1][0]], [taken[2]]))
        records += state.nack(queue, taken[0], taken[1][0], 11, 0, None) or []
    lower = QueuePolicy(retry=Retry(max_attempts=1))
    records += [Delivered(1, [held[0]], [1]), Declared(1, "q", lower)]
    again = BrokerState()
    replay = Replay(again)
    for record in records:
        replay.apply(record)
    moved = [record.id for record in replay.finish(50) if isinstance(record, Moved)]
    assert moved == [held[0]]
    assert [entry[2] for entry in again.by_name["q"].entries()] == [b"waiting"]
    for name in ("q", "q.dead"):
        assert again.stats(again.by_name[name], 60).put == 0, "nothing was put since the start"


def test_replay_of_what_is_not_known() -> None:
    replay = Replay(BrokerState())
    with pytest.raises(BrokerBug):
        replay.apply(Put(7, 1, 1, [(1, 2, b"", b"", None)]))
    replay.apply(Delivered(7, [1], [1]))  # the ring may know more than the log
    replay.apply(Declared(7, "q", QueuePolicy()))
    replay.apply(Settled(7, [99]))
    replay.apply(Delivered(7, [99], [3]))
    replay.apply(Opened(4, 1_000))
    assert replay.epoch == 4
    assert replay.finish(10) == [Opened(4, 10)]  # something was held: it has been judged now


def test_a_carried_message_is_as_it_was_when_it_was_carried() -> None:
    """What stands in the log before that may be half of it: its first segment is gone."""
    state = BrokerState()
    replay = Replay(state)
    entry: Entry = (2_000, 2, b"", b"", None)
    replay.apply(Declared(1, "q", QueuePolicy(retry=Retry(max_attempts=1))))
    replay.apply(Delivered(1, [2_000], [1]))
    replay.apply(Returned(1, [2_000], [0], [9_000]))
    replay.apply(Put(1, 0, 0, [entry], carried=True))
    assert replay.finish(100) == [], "nothing was in flight"
    queue = state.by_name["q"]
    assert queue.take_one(100, 200, 1) == (1, entry, 1), "it waits, never delivered"


def test_what_was_judged_is_not_judged_again() -> None:
    records: list[Record] = [
        Declared(1, "q", QueuePolicy(retry=Retry(max_attempts=3))),
        Opened(1, 1_000),
        Put(1, 1, 1, [(2_000, 2, b"", b"", None)]),
        Delivered(1, [2_000], [1]),
        Opened(2, 3_000),
    ]
    lowered = Declared(1, "q", QueuePolicy(retry=Retry(max_attempts=1)))

    def replayed(records: list[Record]) -> list[Record]:
        replay = Replay(BrokerState())
        for record in records:
            replay.apply(record)
        return replay.finish(4_000, 2)

    judged = replayed(records)
    assert judged == [Opened(2, 4_000)]
    # Cut off before it was written down: judged again, by the policy of now.
    assert any(isinstance(record, Moved) for record in replayed([*records, lowered]))
    assert replayed([*records, *judged, lowered]) == []


def test_ids_go_on_above_what_was_recovered() -> None:
    state = BrokerState()
    replay = Replay(state)
    replay.apply(Declared(1, "q", QueuePolicy()))
    replay.apply(Opened(1, 5_000))
    replay.apply(Put(1, 1, 1, [(9_000, 2, b"", b"", None), (9_001, 2, b"", b"", None)]))
    replay.finish(100)
    assert state.numbers.next_id(100) == 9_002
    assert [rank_of(entry) for entry in state.by_name["q"].entries()] == [9_000, 9_001]
