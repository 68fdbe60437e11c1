"""Planted histories: order of every kind, topics, sets that a filter finds."""

from __future__ import annotations

from tests.lab.history.run import SHARED, STACK, URGENT, A, B, C, Q, Run, broken, fine, started

# Order: of each kind of queue


def two(run: Run, queue: str, first: int = 0, second: int = 0, **more: str) -> None:
    """Two messages wait in a queue."""
    run.put_started(queue, ["a"], priority=first, **more).done([A])  # type: ignore[arg-type]
    run.put_started(queue, ["b"], priority=second, **more).done([B])  # type: ignore[arg-type]


@broken("was delivered before 'b'")
def a_stack_gives_the_older_first(run: Run) -> None:
    two(run, STACK)
    run.got("a", A, 1, queue=STACK)


@fine
def a_stack_gives_the_newer_first(run: Run) -> None:
    two(run, STACK)
    run.got("b", B, 1, queue=STACK)
    run.put_started(STACK, ["c"]).done([C])
    run.got("c", C, 2, queue=STACK)
    run.got("a", A, 3, queue=STACK)


@fine
def a_put_that_is_not_acknowledged_may_be_passed_on_a_stack(run: Run) -> None:
    run.put_started(STACK, ["a"]).done([A])
    run.put_started(STACK, ["b"])
    run.got("a", A, 1, queue=STACK)


@broken("was delivered before 'b'")
def a_retry_is_not_in_its_old_place_on_a_stack(run: Run) -> None:
    two(run, STACK)
    run.got("b", B, 1, queue=STACK)
    run.settle("nack", B, 1, queue=STACK, delay_s=0.0)
    run.got("a", A, 2, queue=STACK)


@broken("was delivered before 'b'")
def a_low_priority_goes_first(run: Run) -> None:
    two(run, URGENT, 1, 9)
    run.got("a", A, 1, queue=URGENT)


@broken("was delivered before 'a'")
def one_priority_is_out_of_order(run: Run) -> None:
    two(run, URGENT, 5, 5)
    run.got("b", B, 1, queue=URGENT)


@fine
def a_high_priority_goes_first(run: Run) -> None:
    two(run, URGENT, 1, 9)
    run.got("b", B, 1, queue=URGENT)
    run.got("a", A, 2, queue=URGENT)


@fine
def of_a_key_the_older_goes_first_whatever_its_priority(run: Run) -> None:
    two(run, URGENT, 1, 9, key="k")
    run.got("a", A, 1, queue=URGENT)


@broken("of its key was held")
def two_of_a_key_at_once_by_priority(run: Run) -> None:
    two(run, URGENT, 1, 9, key="k")
    run.got("a", A, 1, queue=URGENT, lease_s=30.0)
    run.got("b", B, 2, queue=URGENT, lease_s=30.0)


@fine
def a_queue_may_have_no_order_but_the_keys(run: Run) -> None:
    two(run, SHARED)
    run.got("b", B, 1, queue=SHARED)


@broken("was delivered before 'a'")
def a_key_is_out_of_order_where_only_they_are_in_order(run: Run) -> None:
    two(run, SHARED, key="k")
    run.got("b", B, 1, queue=SHARED)


# Topics: a publish is a transaction that puts a body of its own to each queue


def published(run: Run) -> None:
    """One message to two queues; nobody knows whether."""
    run.transaction_started([], [(Q, "p@q"), (STACK, "p@stack")])
    run.restarted("crash")


@broken("was done by halves")
def half_a_publish_is_stored(run: Run) -> None:
    published(run)
    run.left((A, "p@q", 0))
    run.remaining(STACK, [])


@fine
def a_publish_is_stored(run: Run) -> None:
    published(run)
    run.left((A, "p@q", 0))
    run.remaining(STACK, [(B, "p@stack", 0)])


@broken("lost: 'p@stack'")
def a_copy_is_lost(run: Run) -> None:
    run.transaction_started([], [(Q, "p@q"), (STACK, "p@stack")]).done([A, B])
    run.restarted("crash")
    run.left((A, "p@q", 0))
    run.remaining(STACK, [])


@broken("was never put")
def a_publish_goes_to_a_queue_that_is_not_bound(run: Run) -> None:
    run.transaction_started([], [(Q, "p@q")]).done([A])
    run.got("p@stack", B, 1, queue=STACK)


@broken("has two ids")
def what_is_published_again_is_stored_twice(run: Run) -> None:
    run.transaction_started([], [(Q, "p@q")]).done([A])
    run.transaction_started([], [(Q, "p@q")], again=True).done([B])


@fine
def what_is_published_again_goes_to_new_queues_only(run: Run) -> None:
    run.transaction_started([], [(Q, "p@q")]).done([A])
    run.transaction_started([], [(Q, "p@q"), (STACK, "p@stack")], again=True).done([A, B])
    run.got("p@q", A, 1)
    run.settle("ack", A, 1)
    run.left()
    run.remaining(STACK, [(B, "p@stack", 0)])


def bound(run: Run) -> None:
    """A queue is bound to a topic."""
    run.bind_started("t", Q, "#").done()


@broken("is not there, though it was bound")
def a_binding_is_lost(run: Run) -> None:
    bound(run)
    run.restarted("crash")
    run.bindings("t", [])


@broken("is there, though it was unbound")
def a_binding_comes_back(run: Run) -> None:
    bound(run)
    run.bind_started("t", Q, "#", bound=False).done()
    run.restarted("crash")
    run.bindings("t", [(Q, "#")])


@broken("which nobody bound")
def a_binding_is_made_up(run: Run) -> None:
    bound(run)
    run.bindings("t", [(Q, "#"), (Q, "a.*")])


@broken("is there, though it was unbound")
def a_binding_that_failed_is_there(run: Run) -> None:
    run.bind_started("t", Q, "#").failed("StorageFull")
    run.bindings("t", [(Q, "#")])


@broken("is not there, though it was bound")
def a_binding_that_was_seen_after_a_crash_is_lost_by_the_next(run: Run) -> None:
    run.bind_started("t", Q, "#")
    run.restarted("crash")
    run.bindings("t", [(Q, "#")])
    run.restarted("crash")
    run.bindings("t", [])


@fine
def a_binding_cut_off_may_be_there(run: Run) -> None:
    run.bind_started("t", Q, "#")
    run.bind_started("t", Q, "a.*")
    run.restarted("crash")
    run.bindings("t", [(Q, "a.*")])


# Sets that a filter finds


@fine
def what_a_filter_moves_begins_anew(run: Run) -> None:
    started(run)
    run.settle("nack", A, 1, delay_s=0.0)
    run.move_started(Q, STACK).unknown("by a filter")
    run.got("a", A, 2, 1, queue=STACK)
    run.settle("reject", A, 2, queue=STACK)
    run.redrive_started(STACK + ".dead").done()
    run.got("a", A, 3, 1, queue=STACK)


@broken("it can only be in: q, stack")
def what_is_moved_is_elsewhere(run: Run) -> None:
    run.put("a", A)
    run.move_started(Q, STACK).unknown("by a filter")
    run.got("a", A, 1, queue=URGENT)


@broken("lost: 'a'")
def what_is_moved_is_lost(run: Run) -> None:
    run.put("a", A)
    run.move_started(Q, STACK).unknown("by a filter")
    run.left()
    run.remaining(STACK, [])


@broken("as attempt 3")
def what_is_moved_keeps_its_attempts(run: Run) -> None:
    started(run)
    run.settle("nack", A, 1, delay_s=0.0)
    run.move_started(Q, STACK).unknown("by a filter")
    run.got("a", A, 2, 3, queue=STACK)


@fine
def what_a_filter_delays_lets_others_pass(run: Run) -> None:
    run.put("a", A)
    run.put("b", B)
    run.delay_started(Q).unknown("by a filter")
    run.got("b", B, 1)


@broken("was found twice")
def what_is_moved_is_doubled(run: Run) -> None:
    run.put("a", A)
    run.move_started(Q, STACK).unknown("by a filter")
    run.left((A, "a", 0))
    run.remaining(STACK, [(A, "a", 0)])
