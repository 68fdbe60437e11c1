"""The life of a message, as data. `docs/queues.md` draws its diagram from this table.

A message is in exactly one state. The verbs in `queue` and `state` are the only code that moves
it, and each move is a row here; a test walks the verbs and checks that no other move happens.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Status(Enum):
    """Where a message is."""

    PENDING = "pending"  # accepted, not yet on disk: nobody sees it
    WAITING = "waiting"  # may be delivered now
    DELAYED = "delayed"  # may be delivered from its due time on
    IN_FLIGHT = "in flight"  # delivered, held by a lease
    GONE = "gone"  # settled for good


class Event(Enum):
    """What happens to it."""

    COMMIT = "commit"
    DUE = "due"
    TAKE = "take"
    ACK = "ack"
    NACK = "nack"
    NACK_LATER = "nack with a delay"
    GIVE_BACK = "give back"
    EXPIRE = "lease expires"
    EXHAUST = "last attempt failed"
    REJECT = "reject"
    PURGE = "purge"
    MOVE = "move"
    PUT_OFF = "delay"
    OUTLIVE = "time to live over"
    MAKE_ROOM = "dropped to make room"
    REDRIVE = "redrive"


class Row(NamedTuple):
    """One allowed move. ``moves`` is True where the message changes queues."""

    status: Status
    event: Event
    after: Status
    moves: bool = False


TRANSITIONS: Final[tuple[Row, ...]] = (
    Row(Status.PENDING, Event.COMMIT, Status.WAITING),
    Row(Status.PENDING, Event.COMMIT, Status.DELAYED),
    Row(Status.DELAYED, Event.DUE, Status.WAITING),
    Row(Status.WAITING, Event.TAKE, Status.IN_FLIGHT),
    Row(Status.WAITING, Event.PURGE, Status.GONE),
    Row(Status.DELAYED, Event.PURGE, Status.GONE),
    Row(Status.WAITING, Event.OUTLIVE, Status.WAITING, moves=True),
    Row(Status.WAITING, Event.OUTLIVE, Status.GONE),
    Row(Status.DELAYED, Event.OUTLIVE, Status.WAITING, moves=True),
    Row(Status.DELAYED, Event.OUTLIVE, Status.GONE),
    Row(Status.WAITING, Event.MAKE_ROOM, Status.GONE),
    Row(Status.WAITING, Event.REDRIVE, Status.WAITING, moves=True),
    Row(Status.WAITING, Event.MOVE, Status.WAITING, moves=True),
    Row(Status.DELAYED, Event.MOVE, Status.DELAYED, moves=True),
    Row(Status.WAITING, Event.PUT_OFF, Status.DELAYED),
    Row(Status.DELAYED, Event.PUT_OFF, Status.DELAYED),
    Row(Status.DELAYED, Event.PUT_OFF, Status.WAITING),
    Row(Status.IN_FLIGHT, Event.ACK, Status.GONE),
    Row(Status.IN_FLIGHT, Event.NACK, Status.WAITING),
    Row(Status.IN_FLIGHT, Event.NACK_LATER, Status.DELAYED),
    Row(Status.IN_FLIGHT, Event.GIVE_BACK, Status.WAITING),
    Row(Status.IN_FLIGHT, Event.EXPIRE, Status.WAITING),
    Row(Status.IN_FLIGHT, Event.EXHAUST, Status.WAITING, moves=True),
    Row(Status.IN_FLIGHT, Event.EXHAUST, Status.GONE),
    Row(Status.IN_FLIGHT, Event.REJECT, Status.WAITING, moves=True),
    Row(Status.IN_FLIGHT, Event.REJECT, Status.GONE),
)


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> pending: put"]
    for row in TRANSITIONS:
        label = row.event.value
        if row.event is Event.REDRIVE:
            label += " (to where it died)"
        elif row.event is Event.MOVE:
            label += " (to another queue)"
        elif row.moves:
            label += " (to the dead-letter queue)"
        source = row.status.value.replace(" ", "_")
        target = "[*]" if row.after is Status.GONE else row.after.value.replace(" ", "_")
        lines.append(f"    {source} --> {target}: {label}")
    return "\n".join(lines)
