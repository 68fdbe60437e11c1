"""Places in a queue's order, as far as a history tells them.

A message that never changed queues has its id for a place. One that died, was redriven or moved
has a new place at the end of its new queue, and of that only this is known: between which two
events it came there. All else that arrives has its place in the same row.
"""

from __future__ import annotations

from posthouse.testing.judging.fate import Fate
from posthouse.testing.judging.policies import Policies


def passed_over(policies: Policies, queue: str, other: Fate, fate: Fate) -> bool:
    """Whether ``other`` has a place before ``fate``'s, so that it should be delivered first.

    Both wait, and both may be delivered as far as time goes; False if it is not certain.
    """
    order = policies.order(queue)
    if other is fate or other.vague or fate.vague or order == "none":
        return False
    if policies.lined(queue):
        if other.key == fate.key and fate.key is not None:
            # What comes back has the next turn: it is in line only where one goes at a time.
            in_line = order != "fair" or policies.max_in_flight_per_key(queue) == 1
            return in_line and _older(queue, other, fate)
        if other.key is not None or order in ("fair", "keys"):
            return False  # another one of its key may hold it up; or keys take turns
    if order == "lifo":
        return _older(queue, fate, other)
    if order == "priority" and other.priority != fate.priority:
        return other.priority > fate.priority
    return _older(queue, other, fate)


def held_back(policies: Policies, queue: str, other: Fate, fate: Fate) -> bool:
    """Whether ``other``, of the same key, holds ``fate`` up although it is delayed itself."""
    one = policies.max_in_flight_per_key(queue) == 1 and policies.order(queue) != "none"
    same = fate.key is not None and other.key == fate.key and not (other.vague or fate.vague)
    return one and same and other is not fate and _older(queue, other, fate)


def _older(queue: str, one: Fate, two: Fate) -> bool:
    """Whether ``one`` arrived in the queue before ``two``, for certain."""
    if _is_native(one, queue) and _is_native(two, queue):
        return int(one.id, 16) < int(two.id, 16)
    return one.arrival(queue)[1] < two.arrival(queue)[0]


def _is_native(fate: Fate, queue: str) -> bool:
    return fate.native and fate.home == queue
