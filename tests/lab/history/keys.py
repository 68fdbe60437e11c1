"""Planted histories: keys, time to live, duplicates, redrive."""

from __future__ import annotations

from tests.lab.history.run import DEAD, A, B, C, Q, Run, broken, fine, started


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


@broken("it can only be in: q")
def a_redrive_that_was_seen_is_undone_by_a_kill(run: Run) -> None:
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
