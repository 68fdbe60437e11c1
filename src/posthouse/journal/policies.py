"""Policies as bytes: only what is not as the format says by itself.

A log repeats every queue's policy in each segment, and most are mostly default. What is left out
means the value in the table here, which is the format's and never changes: a default of the model
that changes later must not change a queue that is there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from posthouse.model import QueuePolicy

LEFT_OUT: Final[dict[str, Any]] = {
    "visibility_timeout_s": 30.0,
    "retry": {
        "max_attempts": 5,
        "backoff": "exponential",
        "first_s": 1.0,
        "most_s": 300.0,
        "jitter": True,
    },
    "dead_letter": "",
    "max_messages": None,
    "max_bytes": None,
    "overflow": "wait",
    "order": "fifo",
    "fair": False,
    "max_in_flight_per_key": 1,
    "max_in_flight": None,
    "rate": None,
    "rate_per_key": None,
    "ttl_s": None,
    "expired": "dead_letter",
    "dedup_window_s": 300.0,
    "index": [],
}
"""A field that is added to the model later is added here with what it means for older logs."""

_NOTHING: Final = b"\x80"

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, Any]).decode
_PLAIN: Final = msgspec.convert(LEFT_OUT, QueuePolicy)


def encode_policy(policy: QueuePolicy) -> bytes:
    """The policy as a map of what differs from `LEFT_OUT`, in msgpack."""
    if policy == _PLAIN:
        return _NOTHING
    fields: dict[str, Any] = msgspec.to_builtins(policy, builtin_types=())
    differing = {
        name: value
        for name, value in fields.items()
        if name not in LEFT_OUT or _is_other(value, LEFT_OUT[name])
    }
    return _encode(differing)


def decode_policy(data: bytes) -> QueuePolicy:
    """The policy in these bytes.

    Raises:
        msgspec.MsgspecError: they are no policy.
        ValueError: its values do not go together.
    """
    if data == _NOTHING:
        return _PLAIN
    return msgspec.convert(LEFT_OUT | _decode(data), QueuePolicy, strict=True)


def _is_other(value: Any, left_out: Any) -> bool:
    # 30 and 30.0 are the same seconds, but True is no number of messages.
    if isinstance(value, tuple):
        value = list(value)
    return isinstance(value, bool) is not isinstance(left_out, bool) or bool(value != left_out)
