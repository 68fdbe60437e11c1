"""The rich machine on long, dense runs from fixed seeds, policy by policy.

Hypothesis draws short runs of many kinds; these are long ones of one kind each, where what is
delayed, returned and in line meets itself again and again.
"""

from __future__ import annotations

from random import Random

import pytest

from posthouse.model import QueuePolicy, Retry
from tests.core.test_rich_machine import DELAYS, TENTH_NS, RichMachine

RETRY = Retry(max_attempts=3)
POLICIES = {
    "fair": QueuePolicy(fair=True, dead_letter="dead", retry=RETRY, overflow="drop_oldest"),
    "fair, many of a key": QueuePolicy(
        fair=True, dead_letter="dead", retry=RETRY, max_in_flight_per_key=None
    ),
    "keys": QueuePolicy(dead_letter="dead", retry=RETRY),
    "keys, lifo": QueuePolicy(order="lifo", dead_letter="dead", retry=RETRY),
    "keys, priority, two of a key": QueuePolicy(
        order="priority", dead_letter="dead", retry=RETRY, max_in_flight_per_key=2
    ),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("seed", range(8))
def test_a_long_run_agrees_with_the_model(name: str, seed: int) -> None:
    random = Random(f"{name} {seed}")
    policy = POLICIES[name]
    machine = RichMachine()
    machine.declare_both(policy, QueuePolicy())
    for _ in range(150):
        drawn = random.random()
        if drawn < 0.35:
            sizes = [1] * random.randrange(1, 4)
            priority = random.randrange(3) if policy.order == "priority" else 0
            key = random.choice(["", "a", "b"])
            machine.put(sizes, key, priority, 0, random.choice(DELAYS), False)
        elif drawn < 0.65:
            machine.take_one("q")
        elif drawn < 0.9:
            if machine.held():
                verb = random.choice(["ack", "nack", "give_back"])
                machine.settle(random.randrange(1000), verb, random.choice(DELAYS))
        else:
            machine.time_passes(TENTH_NS)
        machine.everything_agrees()
