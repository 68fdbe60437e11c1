"""What a rich queue keeps, drops and forgets; each of these was wrong once or easily would be."""

from __future__ import annotations

from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState, Late
from posthouse.core.transaction import PutStep, Step, commit, problem
from posthouse.model import NANOSECONDS, QueuePolicy
from posthouse.records import Entry, Put, Settled, Traits

NOW_NS = 1_000 * NANOSECONDS
LONG_NS = 1 << 60


class Body(bytes):
    """A body that is counted while it lives."""

    alive = 0

    def __new__(cls, content: bytes) -> Body:
        cls.alive += 1
        return super().__new__(cls, content)

    def __del__(self) -> None:
        Body.alive -= 1


def make(name: str = "q", **policy: object) -> tuple[BrokerState, QueueState]:
    state = BrokerState()
    queue, _ = state.declare(name, QueuePolicy(**policy))  # type: ignore[arg-type]
    return state, queue


def put(queue: QueueState, body: bytes = b"", now_ns: int = NOW_NS, **traits: object) -> Entry:
    made = Traits(**traits) if traits else None  # type: ignore[arg-type]
    entry = queue.put_one(now_ns, 2, body, b"", made)
    assert entry is not None
    queue.publish([entry])
    return entry


def take(queue: QueueState, now_ns: int = NOW_NS) -> Entry | None:
    taken = queue.take_one(now_ns, LONG_NS, 1)
    return None if taken is None else taken[1]


def test_a_redriven_message_is_not_taken_for_its_old_self() -> None:
    """It left as expired while it stood deep in a lifo heap, and came back on top of it."""
    state, queue = make(order="lifo")
    old = put(queue, b"comes back", expires_ns=NOW_NS + 1)
    state.expire_waiting(queue, NOW_NS + 1, 10)
    state.redrive(state.by_name["q.dead"], 1, NOW_NS + 2)
    assert queue.waiting() == 1
    assert [entry[0] for entry in queue.entries()] == [old[0]]
    found = take(queue)
    assert found is not None
    assert found[2] == b"comes back"
    assert queue.in_flight() == 1


def test_what_expired_leaves_no_body_behind() -> None:
    state, queue = make(order="lifo")
    state.declare("q", QueuePolicy(order="lifo", dead_letter=None))
    for number in range(2000):
        put(queue, Body(b"x"), expires_ns=NOW_NS + number)
        state.expire_waiting(queue, NOW_NS + number, 100)
    assert queue.waiting() == 0
    # The dead leave the heap long before somebody takes from it.
    assert Body.alive < 200


def test_times_to_live_of_what_was_acked_are_forgotten() -> None:
    _, queue = make()
    for number in range(2000):
        put(queue, expires_ns=NOW_NS + LONG_NS)
        taken = queue.take_one(NOW_NS + number, LONG_NS, 1)
        assert taken is not None
        assert queue.ack_one(taken[0], taken[1][0])
    assert queue.rich is not None
    assert len(queue.rich.expiries) < 200


def test_what_is_over_is_not_delivered_even_if_nobody_looked() -> None:
    state, queue = make()
    put(queue, b"over", expires_ns=NOW_NS + 5)
    put(queue, b"fresh")
    found = take(queue, NOW_NS + 5)
    assert found is not None
    assert found[2] == b"fresh"
    assert queue.waiting() == 1, "it is still there, for its dead letter"
    assert take(queue, NOW_NS + 5) is None
    assert len(state.expire_waiting(queue, NOW_NS + 5, 10)) == 2  # declares q.dead, moves
    assert (queue.waiting(), queue.live) == (0, 1)
    assert state.by_name["q.dead"].waiting() == 1


def test_a_key_goes_on_when_its_first_is_over() -> None:
    _, queue = make()
    put(queue, b"over", key="a", expires_ns=NOW_NS + 5)
    put(queue, b"next", key="a")
    found = take(queue, NOW_NS + 5)
    assert found is not None
    assert found[2] == b"next"


def test_who_is_out_is_counted_when_a_queue_becomes_rich() -> None:
    """In the middle of a publish, a move or a recovery, the sums are not in order yet."""
    state, queue = make()
    put(queue, b"1")
    put(queue, b"2")
    assert take(queue) is not None
    entries = queue.put_many(NOW_NS, 2, [b"3", b"4"], 2, b"", Traits(key="a"))
    assert entries is not None
    queue.publish(entries)
    assert queue.rich is not None
    assert queue.rich.out == 1
    state.declare("q", QueuePolicy(max_in_flight=2))
    assert take(queue) is not None
    assert take(queue) is None


def test_a_nack_that_becomes_durable_after_its_queue_became_rich() -> None:
    state, queue = make()
    put(queue, b"1")
    taken = queue.take_one(NOW_NS, LONG_NS, 1)
    assert taken is not None
    late: Late = []
    state.nack(queue, taken[0], taken[1][0], NOW_NS, 0, None, late)
    put(queue, b"2", key="a")
    [(_, show)] = late
    queue.pending -= 1
    show()
    assert queue.rich is not None
    assert queue.rich.out == 0
    assert queue.waiting() == 2


def test_a_policy_lets_lines_go_on_at_once() -> None:
    state, queue = make()
    for _ in range(3):
        put(queue, key="a")
    assert take(queue) is not None
    assert take(queue) is None
    state.declare("q", QueuePolicy(max_in_flight_per_key=None))
    assert take(queue) is not None
    assert take(queue) is not None


def test_a_policy_that_is_stricter_holds_for_what_waits() -> None:
    state, queue = make(max_in_flight_per_key=None)
    for _ in range(3):
        put(queue, key="a")
    state.declare("q", QueuePolicy())
    assert take(queue) is not None
    assert take(queue) is None


def test_a_rate_that_stays_goes_on() -> None:
    state, queue = make(rate="1/s")
    put(queue)
    put(queue)
    assert take(queue) is not None
    state.declare("q", QueuePolicy(rate="1/s", max_messages=10))
    assert take(queue) is None, "another setting does not begin it anew"


def test_many_keys_with_a_rate_are_forgotten() -> None:
    _, queue = make(rate_per_key="1000/s")
    now_ns = NOW_NS
    for number in range(20_000):
        now_ns += NANOSECONDS
        put(queue, now_ns=now_ns, key=f"k{number}")
        taken = queue.take_one(now_ns, LONG_NS, 1)
        assert taken is not None
        queue.ack_one(taken[0], taken[1][0])
    assert queue.rich is not None
    assert len(queue.rich.keys) < 10_000


def test_keys_of_no_limit_do_not_hide_the_newest() -> None:
    _, queue = make(order="lifo", max_in_flight_per_key=None)
    entries = [put(queue, key="a") for _ in range(3)]
    found = [take(queue) for _ in range(3)]
    assert [entry and rank_of(entry) for entry in found] == [e[0] for e in reversed(entries)]


def test_those_without_a_key_share_one_turn_of_a_fair_queue() -> None:
    _, queue = make(fair=True)
    for _ in range(50):
        put(queue, b"no key")
    put(queue, b"a", key="a")
    found = [take(queue) for _ in range(2)]
    assert [entry and entry[2] for entry in found] == [b"no key", b"a"]


def test_a_delayed_message_without_a_key_holds_nobody_back() -> None:
    for fair in (False, True):
        _, queue = make(fair=fair)
        put(queue, b"later", due_ns=NOW_NS + 10)
        put(queue, b"now")
        assert [(e := take(queue)) and e[2] for _ in range(2)] == [b"now", None]
        queue.make_due(NOW_NS + 10)
        assert [(e := take(queue, NOW_NS + 10)) and e[2] for _ in range(2)] == [b"later", None]


def test_nothing_is_dropped_where_that_would_not_help() -> None:
    _, queue = make(max_bytes=100, overflow="drop_oldest")
    put(queue, b"x" * 60)
    assert take(queue) is not None
    put(queue, b"y" * 30)
    assert queue.drop_oldest(1, 50) == [], "what is in flight is in the way"
    assert queue.waiting() == 1
    assert [entry[2] for entry in queue.drop_oldest(1, 40)] == [b"y" * 30]


def test_as_few_as_will_do_are_dropped_the_oldest_first() -> None:
    for policy in ({}, {"order": "lifo"}, {"order": "priority"}, {"fair": True}, {"rate": "9/s"}):
        _, queue = make(max_messages=4, max_bytes=10, overflow="drop_oldest", **policy)
        entries = [put(queue, b"x" * size) for size in (1, 2, 3)]
        assert queue.drop_oldest(1, 1) == []
        assert queue.drop_oldest(2, 2) == entries[:1]
        assert queue.drop_oldest(1, 8) == entries[1:]


def test_dead_letters_of_a_queue_with_a_time_to_live() -> None:
    """It is kept where the letter's way ends; between two that bury in each other it is not."""
    for dead_letter, kept in (("dead", True), (None, True), ("q", False)):
        state, queue = make(dead_letter="dead")
        state.declare("dead", QueuePolicy(ttl_s=5.0, dead_letter=dead_letter))
        put(queue)
        taken = queue.take_one(NOW_NS, LONG_NS, 1)
        assert taken is not None
        state.reject(queue, taken[0], taken[1][0], NOW_NS, "why", None)
        [letter] = state.by_name["dead"].entries()
        assert letter[4] is not None
        assert letter[4].expires_ns == (NOW_NS + 5 * NANOSECONDS if kept else 0)


def test_a_transaction_drops_the_oldest_in_its_own_frame() -> None:
    state, queue = make(max_messages=1, overflow="drop_oldest")
    old = put(queue, b"old")
    steps: list[Step] = [PutStep(queue, 2, b"new", b"", None)]
    assert problem(steps) is None
    records, _, _ = commit(state, steps, NOW_NS, 1, 1)
    assert records[0] == Settled(queue.number, [old[0]])
    assert isinstance(records[1], Put)
    assert queue.live == 1
    assert problem(steps) is not None, "what is on its way in cannot be dropped"
