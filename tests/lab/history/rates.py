"""Planted histories: rates, and leases that need no time."""

from __future__ import annotations

from tests.lab.history.run import PACED, SLOW, A, Run, broken, fine


def paced(run: Run, queue: str, *times_s: float, key: str | None = None) -> None:
    """Messages wait, and are taken at these times, seconds."""
    ids = [f"{number:016x}" for number in range(1, len(times_s) + 1)]
    bodies = [f"m{number}" for number in range(len(times_s))]
    run.put_started(queue, bodies, key=key).done(ids)
    for token, (at_s, body, message_id) in enumerate(zip(times_s, bodies, ids, strict=True), 1):
        run.now_s = at_s
        run.got(body, message_id, token, queue=queue)
        run.settle("ack", message_id, token, queue=queue)


@broken("before the rate of its queue allowed it (2/s)")
def more_than_a_burst_is_taken_at_once(run: Run) -> None:
    paced(run, PACED, 1.0, 1.0, 1.0)


@broken("0.100000 s before the rate of its queue")
def the_pace_is_too_fast(run: Run) -> None:
    paced(run, PACED, 1.0, 1.0, 1.5, 1.9)


@broken("before the rate of its queue")
def what_was_not_used_is_saved_up(run: Run) -> None:
    paced(run, PACED, 1.0, 5.0, 5.0, 5.0)


@fine
def a_burst_and_then_an_even_pace(run: Run) -> None:
    paced(run, PACED, 1.0, 1.0, 1.5, 2.0, 2.5, 9.0, 9.0, 9.5)


@fine
def a_rate_begins_anew_in_each_life(run: Run) -> None:
    run.put_started(PACED, ["m9", "m8"]).done(["00000000000000f0", "00000000000000f1"])
    run.got("m9", "00000000000000f0", 1, queue=PACED)
    run.got("m8", "00000000000000f1", 2, queue=PACED)
    run.restarted("close")
    run.got("m9", "00000000000000f0", 3, queue=PACED)
    run.got("m8", "00000000000000f1", 4, queue=PACED)


@broken("before the rate of key 'k' allowed it (1/s)")
def a_key_is_too_fast(run: Run) -> None:
    paced(run, SLOW, 1.0, 1.9, key="k")


@fine
def those_without_a_key_have_no_rate(run: Run) -> None:
    paced(run, SLOW, 1.0, 1.0, 1.0)


@fine
def the_clock_may_have_been_read_before(run: Run) -> None:
    run.put_started(PACED, ["a", "b", "c"]).done([A, "00000000000000f0", "00000000000000f1"])
    for token, (body, message_id) in enumerate(
        (("a", A), ("b", "00000000000000f0"), ("c", "00000000000000f1")), 1
    ):
        run.now_s = 1.0 + token / 10
        run.delivered(PACED, message_id, body, token, 1, since_ns=int(token * 0.2e9))
