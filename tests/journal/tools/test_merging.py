"""What a replay must be told besides the records that could be read, and what is known lost."""

from __future__ import annotations

import pytest

from posthouse.journal.codec import encode_payload
from posthouse.journal.format import FrameHeader
from posthouse.journal.frames import Frame
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.losses import Ledger
from posthouse.journal.tools.merging import Mender
from posthouse.model import QueuePolicy
from posthouse.records import (
    Bound,
    Closed,
    Declared,
    Delivered,
    Moved,
    Opened,
    Put,
    Record,
    Returned,
    Settled,
    Traits,
)
from tests.journal.logs import entries

ORDERS = Declared(1, "orders", QueuePolicy())


def never() -> dict[int, Declared]:
    pytest.fail("nothing is missing")


def test_what_is_whole_passes_as_it_is() -> None:
    mender = Mender(never)
    records: list[Record] = [Opened(4, 9), ORDERS, Settled(1, [7]), Delivered(8, [1], [1])]
    assert mender.group(records) == records
    assert mender.epoch == 4
    assert mender.group([Settled(1, [8]), Closed(5)]) == [Settled(1, [8])]


def test_an_opening_is_never_said_twice() -> None:
    # Replay would take it for the judgement over what was in flight.
    mender = Mender(never)
    mender.group([Opened(4, 9), ORDERS])
    assert mender.catalog([Opened(4, 9), ORDERS]) == [ORDERS]
    assert mender.catalog([Opened(5, 10), ORDERS]) == [Opened(5, 10), ORDERS]


def test_a_queue_is_declared_before_it_is_named() -> None:
    mender = Mender(lambda: {1: ORDERS})
    assert mender.group([Settled(1, [7])]) == [ORDERS, Settled(1, [7])]
    moved = Moved(1, 2, 7, Traits())
    invented = Declared(2, "recovered.2", QueuePolicy())
    assert mender.group([moved]) == [invented, moved]
    assert mender.group([moved]) == [moved]
    assert mender.invented == ["recovered.2"]


def test_an_invented_name_is_nobody_elses() -> None:
    mender = Mender(lambda: {5: Declared(5, "recovered.2", QueuePolicy())})
    assert mender.group([Settled(2, [7])])[0] == Declared(2, "recovered.2.again", QueuePolicy())


def test_bindings_that_ended_unseen_end() -> None:
    mender = Mender(never)
    kept, gone = Bound("t", 1, "a", True), Bound("t", 1, "b", True)
    mender.group([ORDERS, kept, gone])
    assert mender.catalog([ORDERS, kept]) == [ORDERS, kept, Bound("t", 1, "b", False)]
    assert mender.catalog([ORDERS, kept]) == [ORDERS, kept]


def put(first: int, count: int, *, carried: bool = False) -> Put:
    return Put(1, 7, 0, entries(first, count), carried)


def test_the_ledger_counts_a_carried_message_once() -> None:
    ledger = Ledger()
    ledger.note(put(100, 5))
    ledger.note(put(200, 5))
    ledger.note(Settled(1, [101, 999]))
    ledger.note(put(102, 3, carried=True))
    assert (ledger.messages, ledger.living, ledger.last_id) == (10, 9, 204)


def test_a_carried_message_whose_put_was_lost_is_not_lost() -> None:
    ledger = Ledger()
    ledger.note(put(100, 5))
    payload = encode_payload([put(110, 3)])
    header = FrameHeader(0, len(payload), 1, 0, 1, 2, 0)
    fault = Fault(Kind.FRAME, "00000001.seg", 0, None, "a frame is damaged", 2, 2)
    ledger.lost(fault, bytes(48) + payload, Frame(0, header))
    assert ledger.losses[0].put == [(110, 3)]
    ledger.note(Returned(1, [111, 112], [1, 1], [0, 0]))
    assert ledger.lost_ids == [111, 112]
    ledger.note(put(111, 1, carried=True))
    ledger.note(put(200, 5))
    ledger.finish()
    assert ledger.losses[0].put == [(110, 1), (112, 1)]
    assert ledger.lost_ids == [112]
    assert (ledger.losses[0].after_id, ledger.losses[0].before_id) == (104, 200)
    assert (ledger.messages, ledger.living) == (11, 11)


def test_a_lost_message_that_was_settled_later_is_not_named() -> None:
    ledger = Ledger()
    ledger.note(Returned(1, [5], [1], [0]))
    ledger.note(Settled(1, [5]))
    assert ledger.lost_ids == []
    assert ledger.living == 0
