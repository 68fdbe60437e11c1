"""Planted histories: order, delays, attempts, dead letters, what happens together."""

from __future__ import annotations

from tests.lab.history.run import DEAD, A, B, Q, Run, broken, fine, started


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
