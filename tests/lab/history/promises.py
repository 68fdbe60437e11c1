"""Planted histories: what is put is kept, settlements, tokens, leases."""

from __future__ import annotations

from tests.lab.history.run import A, B, Q, Run, broken, fine, started


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
