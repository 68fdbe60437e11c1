"""The history's judge finds every kind of broken promise, and no other.

Each planted history breaks one promise; its twin without the flaw must pass.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from posthouse.errors import BadArgument
from posthouse.model import NANOSECONDS
from posthouse.testing.history import History

Q = "q"
DEAD = "q.dead"
A, B, C = "0000000000000001", "0000000000000002", "0000000000000003"


class Run(History):
    """A history with a clock to move, and short forms of its verbs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: int(self.now_s * NANOSECONDS))

    def put(self, body: str, message_id: str, delay_s: float | None = None) -> None:
        self.put_started(Q, [body], delay_s).done([message_id])

    def got(
        self,
        body: str,
        message_id: str,
        token: int,
        attempts: int = 1,
        queue: str = Q,
        lease_s: float | None = None,
    ) -> None:
        self.delivered(queue, message_id, body, token, attempts, lease_s)

    def settle(
        self, verb: str, message_id: str, token: int, queue: str = Q, **more: object
    ) -> None:
        self.settle_started(verb, queue, message_id, token, **more).done()  # type: ignore[arg-type]

    def left(
        self, *found: tuple[str, str, int], dead: tuple[tuple[str, str, int], ...] = ()
    ) -> None:
        self.remaining(Q, found)
        self.remaining(DEAD, dead)

    def complaints(self, most: int = 3, dead: str | None = DEAD) -> list[str]:
        return self.problems(max_attempts={Q: most}, dead={Q: dead})


Script = Callable[[Run], None]


def started(run: Run, lease_s: float | None = None) -> None:
    """A message put and delivered once."""
    run.put("a", A)
    run.got("a", A, 1, lease_s=lease_s)


# --- broken: (name, what the judge must say, script)

BROKEN: dict[str, tuple[str, Script]] = {}
FINE: dict[str, Script] = {}


def broken(what: str) -> Callable[[Script], Script]:
    def keep(script: Script) -> Script:
        BROKEN[script.__name__] = (what, script)
        return script

    return keep


def fine(script: Script) -> Script:
    FINE[script.__name__] = script
    return script


@broken("lost: 'a'")
def an_acknowledged_put_is_lost(run: Run) -> None:
    run.put("a", A)
    run.restarted("kill")
    run.left()


@broken("lost: 'a'")
def what_was_seen_is_lost(run: Run) -> None:
    run.put_started(Q, ["a"])
    run.got("a", A, 1)
    run.restarted("crash")
    run.left()


@broken("lost: 'a'")
def a_nacked_message_is_lost(run: Run) -> None:
    started(run)
    run.settle("nack", A, 1)
    run.left()


@broken("lost: 'a'")
def a_message_whose_ack_failed_is_lost(run: Run) -> None:
    started(run)
    run.settle_started("ack", Q, A, 1).failed("LeaseExpired")
    run.left()


@broken("lost: 'a'")
def an_ack_undone_by_a_crash_and_then_lost(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1)
    run.restarted("kill")
    run.got("a", A, 2, 2)
    run.restarted("kill")
    run.left()


@fine
def an_ack_undone_by_a_crash(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1)
    run.restarted("kill")
    run.got("a", A, 2, 2)
    run.settle("ack", A, 2, durable=True)
    run.restarted("crash")
    run.left()


@fine
def an_unknown_put_may_be_missing(run: Run) -> None:
    run.put_started(Q, ["a"]).unknown("cancelled")
    run.left()


@fine
def an_unknown_put_may_be_there(run: Run) -> None:
    run.put_started(Q, ["a"])
    run.restarted("crash")
    run.left((A, "a", 0))


@broken("was never put")
def something_unexpected(run: Run) -> None:
    run.got("x", A, 1)


@broken("its put failed")
def a_failed_put_is_there(run: Run) -> None:
    run.put_started(Q, ["a"]).failed("QueueFull")
    run.left((A, "a", 0))


@broken("found twice")
def a_message_is_doubled(run: Run) -> None:
    run.put("a", A)
    run.left((A, "a", 0), (A, "a", 0))


@broken("two ids")
def an_id_changes(run: Run) -> None:
    run.put("a", A)
    run.got("a", B, 1)


@broken("the same id")
def an_id_is_used_twice(run: Run) -> None:
    one = run.put_started(Q, ["a"])
    two = run.put_started(Q, ["b"])
    one.done([A])
    two.done([A])


@broken("but one put before it has")
def ids_shrink(run: Run) -> None:
    run.put("a", B)
    run.put("b", A)


@broken("came back to queue 'q' after it was settled")
def a_durable_ack_is_undone(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1, durable=True)
    run.restarted("crash")
    run.left((A, "a", 1))


@broken("came back to queue 'q' after it was settled")
def a_plain_ack_before_a_durable_put_is_undone(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1)
    run.put("b", B)
    run.restarted("crash")
    run.left((A, "a", 1), (B, "b", 0))


@broken("came back to queue 'q' after it was settled")
def a_plain_ack_is_undone_by_a_close(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1)
    run.restarted("close")
    run.left((A, "a", 1))


@broken("came back to queue 'q' after it was settled")
def an_acked_message_is_delivered_again_in_the_same_life(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1)
    run.got("a", A, 2, 2)


@broken("came back to queue 'q' after it was settled")
def a_purged_message_comes_back(run: Run) -> None:
    run.put("a", A)
    run.purged_started(Q).done()
    run.restarted("crash")
    run.left((A, "a", 0))


@fine
def a_purge_leaves_what_is_in_flight(run: Run) -> None:
    started(run)
    run.purged_started(Q).done()
    run.settle("nack", A, 1)
    run.got("a", A, 2, 2)


@fine
def a_purge_cut_off_may_have_happened(run: Run) -> None:
    run.put("a", A)
    run.put("b", B)
    run.purged_started(Q)
    run.restarted("crash")
    run.left((A, "a", 0))


@broken("with token 1 after 1")
def a_token_repeats_after_a_restart(run: Run) -> None:
    started(run)
    run.restarted("kill")
    run.got("a", A, 1, 2)


@broken("was accepted, but 2 is newer")
def a_stale_token_settles(run: Run) -> None:
    started(run)
    run.got("a", A, 2, 2)
    run.settle("ack", A, 1)


@broken("was extended with token 1, not 2")
def a_stale_token_extends(run: Run) -> None:
    started(run)
    run.got("a", A, 2, 2)
    run.settle("extend", A, 1, delay_s=10.0)


@broken("has two holders")
def two_leases_at_once(run: Run) -> None:
    started(run, lease_s=30.0)
    run.now_s = 29.0
    run.got("a", A, 2, 2)


@broken("has two holders")
def an_extension_is_ignored(run: Run) -> None:
    started(run, lease_s=30.0)
    run.settle("extend", A, 1, delay_s=60.0)
    run.now_s = 31.0
    run.got("a", A, 2, 2)


@fine
def a_lease_runs_out(run: Run) -> None:
    started(run, lease_s=30.0)
    run.now_s = 30.0
    run.got("a", A, 2, 2, lease_s=30.0)
    run.settle_started("ack", Q, A, 1).failed("LeaseExpired")
    run.settle("ack", A, 2)
    run.left()


@broken("raised LeaseExpired; its lease runs")
def a_good_lease_is_refused(run: Run) -> None:
    started(run, lease_s=30.0)
    run.settle_started("ack", Q, A, 1).failed("LeaseExpired")


@broken("was delivered before 'a'")
def order_is_broken(run: Run) -> None:
    run.put("a", A)
    run.put("b", B)
    run.got("b", B, 1)


@broken("was delivered before 'a'")
def order_is_broken_by_a_retry(run: Run) -> None:
    run.put("a", A)
    run.put("b", B)
    run.got("a", A, 1)
    run.settle("nack", A, 1, delay_s=0.0)
    run.got("b", B, 2)


@fine
def a_delayed_retry_lets_others_pass(run: Run) -> None:
    run.put("a", A)
    run.put("b", B)
    run.got("a", A, 1)
    run.settle("nack", A, 1, delay_s=5.0)
    run.got("b", B, 2)
    run.now_s = 5.0
    run.got("a", A, 3, 2)


@fine
def what_an_iterator_set_aside_lets_others_pass(run: Run) -> None:
    run.put("a", A)
    run.put("b", B)
    run.iterating(Q, 1)
    run.got("b", B, 1)
    run.iterating(Q, -1)


@broken("before its delay was over")
def a_delayed_put_comes_early(run: Run) -> None:
    run.put("a", A, delay_s=5.0)
    run.restarted("kill")
    run.now_s = 4.9
    run.got("a", A, 1)


@broken("before its delay was over")
def a_delayed_nack_comes_early(run: Run) -> None:
    started(run)
    run.settle("nack", A, 1, delay_s=5.0)
    run.now_s = 4.9
    run.got("a", A, 2, 2)


@broken("as attempt 1; it must be 2")
def an_attempt_is_not_counted(run: Run) -> None:
    started(run)
    run.settle("nack", A, 1, delay_s=0.0)
    run.got("a", A, 2, 1)


@broken("as attempt 1; it must be 2")
def an_attempt_is_forgotten_by_a_kill(run: Run) -> None:
    started(run)
    run.restarted("kill")
    run.got("a", A, 2, 1)


@fine
def an_attempt_may_be_forgotten_by_a_power_cut(run: Run) -> None:
    started(run)
    run.restarted("crash")
    run.got("a", A, 2, 1)


@broken("as attempt 2; it must be 1")
def a_given_back_attempt_is_counted(run: Run) -> None:
    started(run)
    run.settle("give_back", A, 1)
    run.got("a", A, 2, 2)


@fine
def a_close_gives_back(run: Run) -> None:
    started(run)
    run.restarted("close")
    run.got("a", A, 2, 1)


@broken("as attempt 4; the limit is 3")
def a_message_is_delivered_beyond_its_limit(run: Run) -> None:
    run.put("a", A)
    for token in range(1, 5):
        run.got("a", A, token, token)


@broken("it can only be in: q")
def a_message_dies_too_early(run: Run) -> None:
    started(run)
    run.settle("nack", A, 1)
    run.left(dead=((A, "a", 0),))


@fine
def a_message_dies_at_its_limit(run: Run) -> None:
    run.put("a", A)
    for token in range(1, 4):
        run.got("a", A, token, token)
        run.settle("nack", A, token, delay_s=0.0)
    run.got("a", A, 4, 1, queue=DEAD)
    run.settle("nack", A, 4, queue=DEAD)
    run.left(dead=((A, "a", 1),))


@broken("it can only be in: q.dead")
def a_rejected_message_stays(run: Run) -> None:
    started(run)
    run.settle("reject", A, 1)
    run.left((A, "a", 1))


@broken("was done by halves")
def half_a_batch_is_stored(run: Run) -> None:
    run.put_started(Q, ["a", "b"])
    run.restarted("crash")
    run.left((A, "a", 0))


@broken("was done by halves")
def a_transaction_puts_without_acking(run: Run) -> None:
    started(run)
    run.transaction_started([("ack", Q, A, 1)], [(Q, "b")])
    run.restarted("crash")
    run.left((A, "a", 1), (B, "b", 0))


@broken("was done by halves")
def a_transaction_acks_without_putting(run: Run) -> None:
    started(run)
    run.transaction_started([("ack", Q, A, 1)], [(Q, "b")]).unknown("cut off")
    run.restarted("crash")
    run.left()


@broken("came back to queue 'q' after it was settled")
def a_transaction_that_was_done_is_undone(run: Run) -> None:
    started(run)
    run.transaction_started([("ack", Q, A, 1)], [(Q, "b")]).done([B])
    run.restarted("crash")
    run.left((A, "a", 1), (B, "b", 0))


@broken("lost: 'a'")
def a_transaction_that_failed_acks(run: Run) -> None:
    started(run)
    run.transaction_started([("ack", Q, A, 1)], [(Q, "b")]).failed("QueueFull")
    run.left()


@fine
def a_transaction_cut_off_is_whole(run: Run) -> None:
    started(run)
    run.transaction_started([("ack", Q, A, 1)], [(Q, "b")])
    run.restarted("crash")
    run.left((B, "b", 0))


@fine
def a_transaction_cut_off_never_was(run: Run) -> None:
    started(run)
    run.transaction_started([("ack", Q, A, 1)], [(Q, "b")])
    run.restarted("crash")
    run.left((A, "a", 1))


@fine
def dead_letters_are_dropped_where_nobody_wants_them(run: Run) -> None:
    run.put("a", A)
    run.got("a", A, 1)
    run.settle("reject", A, 1)
    run.remaining(Q, [])


@broken("of its key was held")
def two_of_a_key_at_once(run: Run) -> None:
    run.put_started(Q, ["a"], key="k").done([A])
    run.put_started(Q, ["b"], key="k").done([B])
    run.got("a", A, 1, lease_s=30.0)
    run.got("b", B, 2, lease_s=30.0)


@broken("was delivered before 'a'")
def a_key_is_out_of_order(run: Run) -> None:
    run.put_started(Q, ["a"], key="k").done([A])
    run.put_started(Q, ["b"], key="k").done([B])
    run.got("b", B, 1)


@fine
def keys_pass_each_other(run: Run) -> None:
    run.put_started(Q, ["a"], key="k").done([A])
    run.put_started(Q, ["b"], key="l").done([B])
    run.got("b", B, 1)


@broken("though it had waited too long")
def an_old_message_is_delivered(run: Run) -> None:
    run.put_started(Q, ["a"], ttl_s=5.0).done([A])
    run.now_s = 6.0
    run.put("b", B)
    run.now_s = 6.1
    run.put("c", C)
    run.now_s = 6.2
    run.got("a", A, 1)


@fine
def an_old_message_is_dropped(run: Run) -> None:
    run.put_started(Q, ["a"], ttl_s=5.0).done([A])
    run.left()


@fine
def an_old_message_dies(run: Run) -> None:
    run.put_started(Q, ["a"], ttl_s=5.0).done([A])
    run.got("a", A, 1, queue=DEAD)
    run.settle("ack", A, 1, queue=DEAD)
    run.left()


@broken("lost: 'a'")
def a_dead_letter_that_was_old_is_lost(run: Run) -> None:
    run.put_started(Q, ["a"], ttl_s=5.0).done([A])
    run.got("a", A, 1, queue=DEAD)
    run.left()


@broken("came back to queue 'q' after it was settled")
def a_dedup_id_is_forgotten(run: Run) -> None:
    started(run)
    run.settle("ack", A, 1, durable=True)
    run.put_started(Q, ["a"], again=True).done([A])
    run.got("a", A, 2)


@broken("has two ids")
def a_dedup_id_stores_twice(run: Run) -> None:
    run.put("a", A)
    run.put_started(Q, ["a"], again=True).done([B])


@fine
def a_dedup_id_makes_a_retry_safe(run: Run) -> None:
    run.put_started(Q, ["a"])
    run.restarted("crash")
    run.put_started(Q, ["a"], again=True).failed("QueueFull")
    run.put_started(Q, ["a"], again=True).done([A])
    run.got("a", A, 1)
    run.settle("ack", A, 1)
    run.left()


def redriven(run: Run) -> None:
    """A message that died, and was put back."""
    started(run)
    run.settle("reject", A, 1)
    run.redrive_started(DEAD).done()


@fine
def a_redriven_message_begins_anew(run: Run) -> None:
    redriven(run)
    run.got("a", A, 2, 1)
    run.restarted("kill")
    run.got("a", A, 3, 2)


@fine
def a_redrive_is_undone_by_a_kill(run: Run) -> None:
    redriven(run)
    run.got("a", A, 2, 1)
    run.restarted("kill")
    run.got("a", A, 3, 1, queue=DEAD)


@broken("it can only be in: q.dead")
def a_message_comes_back_without_a_redrive(run: Run) -> None:
    started(run)
    run.settle("reject", A, 1)
    run.got("a", A, 2, 1)


@broken("lost: 'a'")
def a_redriven_message_is_lost(run: Run) -> None:
    redriven(run)
    run.left()


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_promise_is_found(name: str) -> None:
    what, script = BROKEN[name]
    run = Run()
    script(run)
    complaints = run.complaints()
    assert any(what in complaint for complaint in complaints), complaints
    again = History.from_text(run.to_text())
    assert again.problems(max_attempts={Q: 3}, dead={Q: DEAD}) == complaints


@pytest.mark.parametrize("name", sorted(FINE))
def test_a_kept_promise_is_left_alone(name: str) -> None:
    run = Run()
    FINE[name](run)
    dead = None if name.startswith("dead_letters_are_dropped") else DEAD
    assert run.complaints(dead=dead) == []


def test_too_many_in_flight_are_seen() -> None:
    run = Run()
    run.put("a", A)
    run.put("b", B)
    run.got("a", A, 1, lease_s=5.0)
    run.got("b", B, 2, lease_s=5.0)
    assert "the limit is 1" in run.problems(max_in_flight={Q: 1})[0]
    assert run.problems(max_in_flight={Q: 2}) == []


def test_an_operation_ends_once() -> None:
    run = Run()
    operation = run.put_started(Q, ["a"])
    operation.done([A])
    with pytest.raises(BadArgument):
        operation.failed("again")


def test_a_text_that_is_no_history_is_refused() -> None:
    with pytest.raises(BadArgument, match="line 2"):
        History.from_text('{"event":"restarted","kind":"kill"}\nnonsense\n')


def test_a_history_read_back_goes_on() -> None:
    run = Run()
    run.put("a", A)
    again = History.from_text(run.to_text())
    again.put_started(Q, ["b"]).done([B])
    again.remaining(Q, [(A, "a", 0), (B, "b", 0)])
    assert again.problems() == []
