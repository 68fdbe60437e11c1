"""One message of each kind, with something in every field; and any message, for Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from posthouse.records import Traits
from posthouse.wire import answers, requests

TRAITS = Traits(due_ns=5, key="k", priority=7, expires_ns=9, dedup="d")
ENTRY = (1_700_000_000_000_000_000, 2, b"body", b"\x81\xa1a\xa1b", TRAITS)
PLAIN = (1_700_000_000_000_000_001, 0, b"1", b"", None)

FROM_CLIENT: list[Any] = [
    requests.Seen([1, 2], 9, [5]),
    requests.Ping(3),
    requests.Goodbye(),
    requests.Cancel(4, 1, "q"),
    requests.Declare(1, "q", {"max_messages": 5, "dead_letter": None}),
    requests.PutEach(2, "q", 7, [2, 0], [b"a", b"1"], True),
    requests.PutMany(3, "q", 9, 2, [b"a", b"b"], b"\x80", TRAITS, 1.5, False),
    requests.PutOne(4, "q", 11, 0, b"1", b"\x80", TRAITS, None, True),
    requests.Get(5, "q", 100, 1000, 30_000_000_000, 0.0, "body.n > 1", True),
    requests.Subscribe(6, "q", 100, 1 << 20),
    requests.Credit(6, 50, 2048, 49, True),
    requests.Unsubscribe(6, [1 << 41], [PLAIN[0]], 2),
    requests.Returned(6, [1 << 41], [PLAIN[0]]),
    requests.AckEach(7, "q", [1 << 41, 1 << 42], [1, 2], True),
    requests.AckMany(8, "q", 1 << 41, [1, 2], False),
    requests.Nack(9, "q", 1 << 41, 1, 5, "why"),
    requests.Reject(10, "q", 1 << 41, 1, "no", None),
    requests.GiveBack(11, "q", 1 << 41, [1]),
    requests.Renew(12, [("q", 1 << 41, 30)], True),
    requests.Commit(
        13,
        12,
        [
            requests.PutStep("q", 2, b"b", b"", None),
            requests.SettleStep("q", "nack", 1 << 41, 1, 5, "", "why"),
            requests.PublishStep("t", "a.b", 0, b"1", b"", TRAITS, True),
        ],
        2.5,
    ),
    requests.Publish(14, "t", "a.b", 2, b"b", b"", TRAITS, False, 1.0),
    requests.Ask(15, "find", "q", [None, "id", 10, None]),
]

FROM_SERVER: list[Any] = [
    answers.Refused("no", True),
    answers.Pong(3),
    answers.Farewell(),
    answers.Leaving(),
    answers.Done(7, 1, 2),
    answers.Placed(2, PLAIN[0], 0, 2),
    answers.Delivered(5, 1 << 41, [ENTRY, PLAIN], [2, 1], 30_000_000_000),
    answers.Pushed(6, [1 << 41], [PLAIN], [1], 30_000_000_000),
    answers.Recall(6, True),
    answers.Answer(15, {"a": [1, None, b"x"]}),
    answers.Failed(4, 0, "LeaseExpired", "gone", [1, 2]),
]

HELLO = requests.Hello(1, 1, b"", "client", "tests", 20.0, 1 << 20, 0)
WELCOME = answers.Welcome(
    1, b"0123456789abcdef", False, 1 << 41, PLAIN[0], 20.0, 1 << 20, 1 << 20, 100, ["fenced"]
)

numbers = st.integers(0, (1 << 63) - 1)
names = st.text(max_size=20)
any_request = st.one_of(
    st.sampled_from(FROM_CLIENT),
    st.builds(requests.Seen, st.lists(numbers, max_size=9), numbers),
    st.builds(
        requests.PutMany,
        numbers,
        names,
        numbers,
        st.integers(0, 255),
        st.lists(st.binary(max_size=300), max_size=5),
        st.binary(max_size=20),
    ),
    st.builds(requests.AckMany, numbers, names, numbers, st.lists(numbers, max_size=9)),
    st.builds(requests.Nack, numbers, names, numbers, numbers, st.none() | numbers, names),
)
