"""Planted histories: places of what died, was redriven or moved; keys across orders."""

from __future__ import annotations

from tests.lab.history.run import DEAD, FAIR, FREE, STACK, URGENT, A, B, C, Q, Run, broken, fine

D = "0000000000000004"


def buried(run: Run, *rows: tuple[str, str]) -> None:
    """These were put, and then rejected in the reverse order: so the last one died first."""
    for body, message_id in rows:
        run.put(body, message_id)
    for token, (body, message_id) in enumerate(rows, 1):
        run.got(body, message_id, token)
    for token, (_, message_id) in reversed(list(enumerate(rows, 1))):
        run.settle("reject", message_id, token)


# Dead letters: in the order of death


@broken("was delivered before 'b'")
def a_dead_letter_keeps_its_old_place(run: Run) -> None:
    buried(run, ("a", A), ("b", B))
    run.put("d", D)  # durable, and so what was accepted before it
    run.got("a", A, 5, queue=DEAD)


@fine
def dead_letters_come_in_the_order_of_death(run: Run) -> None:
    buried(run, ("a", A), ("b", B))
    run.put("d", D)
    run.got("b", B, 5, queue=DEAD)
    run.got("a", A, 6, queue=DEAD)


@fine
def a_letter_that_is_not_yet_on_disk_may_be_passed(run: Run) -> None:
    buried(run, ("a", A), ("b", B))
    run.got("a", A, 5, queue=DEAD)


@broken("was delivered before 'b'")
def a_letter_that_was_put_back_has_lost_its_place(run: Run) -> None:
    buried(run, ("a", A), ("b", B))
    run.got("b", B, 5, queue=DEAD)
    run.settle("nack", B, 5, queue=DEAD, delay_s=0.0)
    run.got("a", A, 6, queue=DEAD)


@broken("was delivered before 'b'")
def letters_change_places_in_a_crash(run: Run) -> None:
    buried(run, ("a", A), ("b", B))
    run.put("d", D)
    run.restarted("crash")
    run.got("a", A, 5, queue=DEAD)


@fine
def letters_may_die_again_after_a_crash(run: Run) -> None:
    buried(run, ("a", A), ("b", B))
    run.restarted("kill")
    run.got("a", A, 5, 2)
    run.settle("reject", A, 5)
    run.got("a", A, 6, queue=DEAD)


# What is redriven arrives anew


@broken("was delivered before 'c'")
def a_redriven_message_takes_its_old_place(run: Run) -> None:
    buried(run, ("a", A))
    run.put("c", C)
    run.redrive_started(DEAD).done()
    run.got("a", A, 5)


@broken("was delivered before 'c'")
def a_redriven_message_is_not_the_newest_of_a_stack(run: Run) -> None:
    run.put_started(STACK, ["c"]).done([A])
    run.got("c", A, 1, queue=STACK)
    run.settle("reject", A, 1, queue=STACK)
    run.put_started(STACK, ["d"]).done([B])
    run.redrive_started(STACK + ".dead").done()
    run.got("d", B, 2, queue=STACK)


@fine
def what_is_put_after_a_redrive_waits_behind_it(run: Run) -> None:
    buried(run, ("a", A))
    run.put("c", C)
    run.redrive_started(DEAD).done()
    run.got("c", C, 5)
    run.got("a", A, 6)


@broken("was delivered before 'a'")
def a_redriven_message_is_passed(run: Run) -> None:
    buried(run, ("a", A))
    run.put("c", C)
    run.redrive_started(DEAD).done()
    run.put("d", D)
    run.got("c", C, 5)
    run.got("d", D, 6)


@fine
def of_some_that_are_redriven_nobody_knows_which(run: Run) -> None:
    buried(run, ("a", A))
    run.put("c", C)
    run.redrive_started(DEAD).unknown("some")
    run.put("d", D)
    run.got("c", C, 5)
    run.got("d", D, 6)


# What a filter moves, too


@broken("was delivered before 'c'")
def what_is_moved_takes_its_old_place(run: Run) -> None:
    run.put("a", A)
    run.put_started(FREE, ["c"]).done([B])
    run.move_started(Q, FREE).unknown("by a filter")
    run.got("a", A, 1, queue=FREE)


@fine
def what_is_moved_goes_to_the_end(run: Run) -> None:
    run.put("a", A)
    run.put_started(FREE, ["c"]).done([B])
    run.move_started(Q, FREE).unknown("by a filter")
    run.got("c", B, 1, queue=FREE)
    run.got("a", A, 2, queue=FREE)


# Keys come before the queue's order


def keyed(run: Run, queue: str, *rows: tuple[str, str, str | None, int]) -> None:
    """Messages wait: (body, id, key, priority)."""
    for body, message_id, key, priority in rows:
        run.put_started(queue, [body], key=key, priority=priority).done([message_id])


@broken("was delivered before 'a'")
def of_a_key_the_newer_goes_first_on_a_stack(run: Run) -> None:
    keyed(run, STACK, ("a", A, "k", 0), ("b", B, "k", 0))
    run.got("b", B, 1, queue=STACK)


@broken("was delivered before 'a'")
def of_a_key_the_more_urgent_goes_first(run: Run) -> None:
    keyed(run, URGENT, ("a", A, "k", 1), ("b", B, "k", 9))
    run.got("b", B, 1, queue=URGENT)


@broken("was delivered before 'b'")
def one_without_a_key_is_passed_by_a_key(run: Run) -> None:
    keyed(run, URGENT, ("a", A, "k", 1), ("b", B, None, 9))
    run.got("a", A, 1, queue=URGENT)


@fine
def keys_do_not_wait_for_each_other(run: Run) -> None:
    keyed(run, URGENT, ("a", A, "k", 1), ("b", B, "l", 9))
    run.got("a", A, 1, queue=URGENT)


@broken("was delivered before 'a'")
def a_delayed_message_does_not_hold_back_its_key(run: Run) -> None:
    run.put_started(Q, ["a"], 5.0, key="k").done([A])
    run.put_started(Q, ["b"], key="k").done([B])
    run.got("b", B, 1)


@fine
def a_delayed_message_holds_back_its_own_key_only(run: Run) -> None:
    run.put_started(Q, ["a"], 5.0, key="k").done([A])
    run.put_started(Q, ["b"], key="l").done([B])
    run.got("b", B, 1)


@broken("of its key was held")
def a_key_has_two_holders_in_the_dead_letter_queue(run: Run) -> None:
    for token, (body, message_id) in enumerate((("a", A), ("b", B)), 1):
        run.put_started(Q, [body], key="k").done([message_id])
        run.got(body, message_id, token)
        run.settle("reject", message_id, token)
    run.got("a", A, 3, queue=DEAD, lease_s=30.0)
    run.got("b", B, 4, queue=DEAD, lease_s=30.0)


@fine
def where_keys_are_not_limited_they_order_nothing(run: Run) -> None:
    keyed(run, FREE, ("a", A, "k", 0), ("b", B, "k", 0))
    run.got("a", A, 1, queue=FREE, lease_s=30.0)
    run.got("b", B, 2, queue=FREE, lease_s=30.0)


@broken("was delivered before 'a'")
def where_keys_are_not_limited_the_queue_is_in_order(run: Run) -> None:
    keyed(run, FREE, ("a", A, "k", 0), ("b", B, "l", 0))
    run.got("b", B, 1, queue=FREE)


@fine
def what_was_put_again_under_another_key_may_have_either(run: Run) -> None:
    run.put_started(Q, ["a"], key="k")
    run.restarted("crash")
    run.put_started(Q, ["a"], key="l", again=True).done([A])
    run.put_started(Q, ["b"], key="l").done([B])
    run.got("b", B, 1)


# Turns in a fair queue


@broken("in the turn of key 'l'")
def a_busy_key_starves_another(run: Run) -> None:
    keyed(run, FAIR, ("a", A, "k", 0), ("b", B, "k", 0), ("c", C, "l", 0))
    run.got("a", A, 1, queue=FAIR)
    run.settle("ack", A, 1, queue=FAIR)
    run.got("b", B, 2, queue=FAIR)


@broken("in the turn of key None")
def those_without_a_key_have_a_turn(run: Run) -> None:
    keyed(run, FAIR, ("a", A, "k", 0), ("b", B, "k", 0), ("c", C, None, 0))
    run.got("a", A, 1, queue=FAIR)
    run.settle("ack", A, 1, queue=FAIR)
    run.got("b", B, 2, queue=FAIR)


@fine
def keys_take_turns(run: Run) -> None:
    keyed(run, FAIR, ("a", A, "k", 0), ("b", B, "k", 0), ("c", C, "l", 0))
    run.got("a", A, 1, queue=FAIR)
    run.settle("ack", A, 1, queue=FAIR)
    run.got("c", C, 2, queue=FAIR)
    run.got("b", B, 3, queue=FAIR)


@fine
def what_comes_back_has_the_next_turn(run: Run) -> None:
    keyed(run, FAIR, ("a", A, "k", 0), ("c", C, "l", 0))
    run.got("a", A, 1, queue=FAIR)
    run.settle("give_back", A, 1, queue=FAIR)
    run.got("a", A, 2, queue=FAIR)


@fine
def after_a_restart_the_round_begins_anew(run: Run) -> None:
    keyed(run, FAIR, ("a", A, "k", 0), ("b", B, "k", 0), ("c", C, "l", 0))
    run.got("a", A, 1, queue=FAIR)
    run.settle("ack", A, 1, queue=FAIR)
    run.restarted("close")
    run.got("b", B, 2, queue=FAIR)
