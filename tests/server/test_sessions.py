"""What a session is owed, and what it owes, told on bare connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import posthouse
from posthouse.errors import LeaseExpired
from posthouse.testing.cases.base import soon
from posthouse.testing.serving import ServedBroker, serve
from posthouse.wire import requests
from posthouse.wire.answers import Answer, Delivered, Failed, Placed, Pong, Pushed
from tests.server.raw import Raw

BODY = b"x" * 1000


@pytest.fixture
def served() -> Iterator[ServedBroker]:
    with serve() as found:
        yield found


def fill(url: str, count: int) -> None:
    async def put() -> None:
        async with posthouse.open(url) as broker:
            await broker.queue("q").put_many([BODY] * count)

    asyncio.run(put())


def test_a_push_stays_within_the_credit_of_bytes(served: ServedBroker) -> None:
    fill(served.url, 50)
    with Raw(served.url) as client:
        client.hello()
        client.say(requests.Subscribe(1, "q", 1000, 4500))
        pushed = client.hear()
        assert isinstance(pushed, Pushed)
        assert len(pushed.tokens) == 5, "the one that uses it up is the last"
        client.say(requests.Ping(2))
        assert client.hear() == Pong(2)
        client.say(requests.Credit(1, 1, 2500, 5, waits=True))
        assert len(client.hear().tokens) == 2
        client.say(requests.Ping(3))
        assert client.hear() == Pong(3)


def test_goodbye_gives_back_uncounted_and_silence_does_not(served: ServedBroker) -> None:
    fill(served.url, 2)
    with Raw(served.url) as polite, Raw(served.url) as other, Raw(served.url) as killed:
        for client in (polite, other, killed):
            client.hello()
        polite.say(requests.Get(1, "q", 1, 1, 10**12))
        killed.say(requests.Get(1, "q", 1, 1, 10**12))
        assert isinstance(polite.hear(), Delivered)
        assert isinstance(killed.hear(), Delivered)
        polite.say(requests.Goodbye())
        assert polite.closed()
        killed.socket.close()
        other.say(requests.Get(1, "q", 9, 10**6, 10**12, 5.0))
        came = other.hear()
        assert isinstance(came, Delivered)
        assert came.attempts in (None, [1])
        assert len(came.entries) == 1, "who was killed holds the other until its deadline"
        other.say(requests.Get(2, "q", 9, 10**6, 10**12, 0.0))
        answer = other.hear()
        assert isinstance(answer, Failed)
        assert answer.code == "TimeoutError"


def test_what_was_on_its_way_goes_back_uncounted(served: ServedBroker) -> None:
    """The client comes back, and names all that it holds."""
    fill(served.url, 3)
    with Raw(served.url) as client:
        welcome = client.hello()
        client.say(requests.Get(1, "q", 1, 1, 10**12), requests.Get(2, "q", 2, 10**6, 10**12))
        kept, lost = client.hear(), client.hear()
        client.say(requests.Seen([1, 2]), requests.Ping(1))
        assert client.hear() == Pong(1)
    with Raw(served.url) as again:
        assert again.hello(session=welcome.session).resumed
        again.say(requests.Renew(3, [("q", kept.token, 10**12)], True))
        assert again.hear() == Answer(3, [])
        again.say(requests.Get(4, "q", 9, 10**6, 10**12, 0.0))
        back = again.hear()
        assert isinstance(back, Delivered)
        assert [entry[0] for entry in back.entries] == [entry[0] for entry in lost.entries]
        assert back.attempts in (None, [1, 1])
        assert back.token > lost.token


def test_an_answer_is_kept_until_it_is_seen(served: ServedBroker) -> None:
    """Of every kind of request: said again on the next connection, it is answered the same."""
    said = [
        requests.Declare(1, "q", {"max_messages": 50}),
        requests.PutEach(2, "q", 1, 2, [b"a", b"b"]),
        requests.PutOne(3, "q", 3, 2, b"c"),
        requests.Commit(4, 4, [requests.PutStep("q", 2, b"d", b"", None)]),
        requests.Get(5, "q", 2, 100, 10**12),
        requests.Ask(6, "names", "", []),
    ]
    with Raw(served.url) as client:
        welcome = client.hello()
        client.say(*said)
        first = [client.hear() for _ in said]
    assert isinstance(first[1], Placed)
    with Raw(served.url) as again:
        assert again.hello(session=welcome.session).resumed
        again.say(*said, requests.Ask(7, "stats", "q", []))
        heard = [again.hear() for _ in said]
        assert heard == sorted(first, key=lambda reply: reply.of)
        stats = again.hear()
        assert stats.value["waiting"] + stats.value["in_flight"] == 4


async def test_what_was_held_before_a_restart_is_lost_at_once() -> None:
    with serve(durable=True) as served:
        async with posthouse.open(served.url, first_pause_s=0.01) as broker:
            queue = broker.queue("q", visibility_timeout=3600)
            await queue.put(1)
            message = await soon(queue.get())
            await asyncio.to_thread(served.restart)
            again = await soon(queue.get())
            assert again.id == message.id
            with pytest.raises(LeaseExpired):
                await soon(message.ack(durable=True))
            await soon(again.ack())


@pytest.mark.parametrize(
    "message",
    [
        requests.Returned(1, [1], []),
        requests.Unsubscribe(1, [1], [1, 2], 0),
        requests.Cancel(2, 0, "../q"),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_has_no_answer_and_is_wrong_is_refused(served: ServedBroker, message: object) -> None:
    fill(served.url, 1)
    with Raw(served.url) as client:
        client.hello()
        client.say(requests.Subscribe(1, "r", 1, 1), requests.Get(2, "q", 1, 1), message)
        assert isinstance(client.hear(), Delivered)
        refused = client.hear()
        assert refused.final
        assert client.closed()


def test_settings_and_acks_that_are_wrong_are_refused(served: ServedBroker) -> None:
    with Raw(served.url) as client:
        client.hello()
        client.say(
            requests.Declare(1, "q", {"max_messages": "many"}),
            requests.AckEach(2, "q", [1, 2], [1]),
            requests.AckEach(3, "q", [], []),
            requests.PutEach(4, "q", 1, 2, []),
        )
        answers = [client.hear() for _ in range(4)]
        assert {(answer.of, answer.code) for answer in answers} == {
            (number, "BadArgument") for number in range(1, 5)
        }
        assert "max_messages" in answers[0].text
