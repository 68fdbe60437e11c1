"""Policies in the log: what is left out, and that it stays what it was."""

from __future__ import annotations

import msgspec
import pytest

from posthouse.journal import policies
from posthouse.journal.codec import size_bound
from posthouse.journal.policies import LEFT_OUT, decode_policy, encode_policy
from posthouse.model import QueuePolicy, Retry
from posthouse.records import Declared

WHOLE = QueuePolicy(
    visibility_timeout_s=12.5,
    retry=Retry(max_attempts=2, backoff=(1.0, 2.5)),
    dead_letter=None,
    max_messages=1,
    max_bytes=7,
    overflow="drop_oldest",
    order="priority",
    max_in_flight_per_key=None,
    max_in_flight=3,
    rate="10/s",
    rate_per_key="1/s",
    ttl_s=4.5,
    expired="drop",
    dedup_window_s=1.0,
    index=("body.a", "headers.b"),
)


@pytest.mark.parametrize(
    "policy",
    [
        QueuePolicy(),
        WHOLE,
        QueuePolicy(fair=True),
        QueuePolicy(max_messages=1, max_in_flight_per_key=2),
        QueuePolicy(retry=Retry(jitter=False)),
    ],
)
def test_a_policy_is_what_it_was(policy: QueuePolicy) -> None:
    assert decode_policy(encode_policy(policy)) == policy


def test_only_what_differs_is_written() -> None:
    assert encode_policy(QueuePolicy()) == b"\x80"
    assert msgspec.msgpack.decode(encode_policy(QueuePolicy(ttl_s=5.0, fair=True))) == {
        "ttl_s": 5.0,
        "fair": True,
    }
    assert size_bound(Declared(1, "orders", QueuePolicy())) < 100


def test_one_that_has_all_its_fields_is_read() -> None:
    """As they were written before."""
    for policy in (QueuePolicy(), WHOLE):
        assert decode_policy(msgspec.msgpack.encode(policy)) == policy


def test_every_field_has_a_value_to_be_left_out() -> None:
    """A new one needs one in `LEFT_OUT`: what it means in a log that does not have it."""
    assert set(LEFT_OUT) == set(QueuePolicy.__struct_fields__)
    assert set(LEFT_OUT["retry"]) == set(Retry.__struct_fields__)


def test_a_default_that_changes_does_not_change_a_queue_that_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old = encode_policy(QueuePolicy(fair=True))

    class Later(QueuePolicy, frozen=True):
        visibility_timeout_s: float = 60.0
        retry: Retry = Retry(max_attempts=9)

    monkeypatch.setattr(policies, "QueuePolicy", Later)
    assert decode_policy(old) == Later(30.0, Retry(), fair=True)
    assert msgspec.msgpack.decode(encode_policy(Later())) == {
        "visibility_timeout_s": 60.0,
        "retry": msgspec.to_builtins(Retry(max_attempts=9)),
    }


@pytest.mark.parametrize("data", [b"", b"\x81", b"\x90", b"\xff" * 40, b"\x81\xa4rate\x01"])
def test_what_is_no_policy_is_refused(data: bytes) -> None:
    with pytest.raises((msgspec.MsgspecError, ValueError)):
        decode_policy(data)
