"""Rights on names, and their enforcement in the session, for every verb there is."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access.rights import RIGHTS, Grant, Right, Rights, check_pattern, check_rights
from posthouse.backends.contract import QueuePort
from posthouse.broker import Broker
from posthouse.core.filters import filter_of
from posthouse.core.transaction import PutStep
from posthouse.errors import AccessDenied, BadArgument
from posthouse.model import KIND_TEXT
from posthouse.queue import Queue
from posthouse.records import Traits
from posthouse.session import Port
from posthouse.session.rights import GUARDED, UNGUARDED, GuardedPort
from tests.access.faces import Entitled, rights, two_brokers

# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("pattern", "covered", "not_covered"),
    [
        ("orders", ["orders"], ["orders2", "orders.dead", "order", "Orders"]),
        ("orders.*", ["orders.eu", "orders.eu.dead"], ["orders", "ordersx"]),
        ("orders*", ["orders", "orders.dead", "orders2"], ["order", "xorders"]),
        ("*", ["a", "z.9"], []),
    ],
)
def test_a_pattern_covers_names(pattern: str, covered: list[str], not_covered: list[str]) -> None:
    grant = Grant(check_pattern(pattern), ("put",))
    assert all(grant.covers(name) for name in covered)
    assert not any(grant.covers(name) for name in not_covered)


@pytest.mark.parametrize(
    "pattern", ["", "**", "*a", "a*b", "a/*", "../*", ".*", "a b", "a\n*", "a" * 300]
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(BadArgument, match="no pattern"):
        check_pattern(pattern)


def test_what_is_no_right_is_refused() -> None:
    with pytest.raises(BadArgument, match="'delete' is no right; there are: put, get"):
        check_rights(["put", "delete"])
    with pytest.raises(BadArgument, match="no right was given"):
        check_rights([])


@given(
    st.lists(st.tuples(st.text("ab.", min_size=0, max_size=4), st.sampled_from(RIGHTS))),
    st.text("ab.", min_size=1, max_size=6),
)
def test_what_is_not_granted_is_denied(grants: list[tuple[str, Right]], name: str) -> None:
    has = Rights("ada", [Grant(f"{begin}*", (right,)) for begin, right in grants])
    for right in RIGHTS:
        wanted = any(name.startswith(begin) and each == right for begin, each in grants)
        assert (right in has.on(name)) == wanted


def test_the_refusal_names_user_right_and_queue(caplog: pytest.LogCaptureFixture) -> None:
    has = rights(("orders", "get"))
    with caplog.at_level(logging.WARNING), pytest.raises(AccessDenied) as caught:
        has.check("put", "orders")
    assert (caught.value.user, caught.value.right, caught.value.queue) == ("ada", "put", "orders")
    assert "user 'ada' has no right to put on 'orders' (has: get)" in str(caught.value)
    assert "posthouse user allow ada orders put" in str(caught.value)
    assert "user 'ada' was denied put on 'orders'" in caplog.text


def test_who_asks_again_and_again_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    has = rights()
    with caplog.at_level(logging.WARNING):
        for number in range(3_000):
            with pytest.raises(AccessDenied):
                has.check("put", f"q{number % 1_500}")
    assert len(caplog.records) == 100


# ---------------------------------------------------------------- every verb


def test_every_verb_of_a_port_is_in_the_table() -> None:
    """A verb that is added to the contract, or to a port, must be given its right."""
    contract = {name for name in vars(QueuePort) if not name.startswith("_")}
    ports = {
        name
        for name, value in inspect.getmembers(Port)
        if not name.startswith("_") and inspect.isfunction(value)
    }
    own = {name for name in vars(GuardedPort) if not name.startswith("_")}
    # What a port has for its own parts and for sessions.
    inner = {"check_open", "expired", "restore"}
    attributes = {"broker", "answers"}
    assert (contract | ports) - UNGUARDED - own - inner - attributes == set()
    assert set(GUARDED) <= own
    assert set(get_args(Right)) == set(RIGHTS)


Verb = Callable[[Port], Any]
WHERE = filter_of("priority == 0")
VERBS: dict[str, tuple[Right | None, Verb]] = {
    "put_plain": ("put", lambda p: p.put_plain(KIND_TEXT, b"x")),
    "put_one": ("put", lambda p: p.put_one(KIND_TEXT, b"x")),
    "put_many": ("put", lambda p: p.put_many(KIND_TEXT, [b"x"])),
    "put_one_waiting": ("put", lambda p: p.put_one_waiting(KIND_TEXT, b"x", b"", None, 1.0)),
    "put_many_waiting": ("put", lambda p: p.put_many_waiting(KIND_TEXT, [b"x"], b"", None, 1.0)),
    "put_step": ("put", lambda p: p.put_step(KIND_TEXT, b"x", b"", None)),
    "take_one": ("get", lambda p: p.take_one(0)),
    "take_one_from_disk": ("get", lambda p: p.take_one_from_disk(0)),
    "take_many": ("get", lambda p: p.take_many(1, 1_000, 0)),
    "take_one_waiting": ("get", lambda p: p.take_one_waiting(0, 1.0)),
    "take_many_waiting": ("get", lambda p: p.take_many_waiting(1, 1_000, 0, 1.0)),
    "feed": ("get", lambda p: p.feed(1, 1_000)),
    "reserve": ("get", lambda p: p.reserve(1, 1_000)),
    "readable": ("get", lambda p: p.readable()),
    "arrival": ("get", lambda p: p.arrival()),
    "select": ("get", lambda p: p.select(WHERE, 1, 1_000, 0, 1.0)),
    "ack_one": ("get", lambda p: p.ack_one(1, 1)),
    "ack_durably": ("get", lambda p: p.ack_durably(1, 1)),
    "ack_batch": ("get", lambda p: p.ack_batch(1, [1])),
    "ack_step": ("get", lambda p: p.ack_step(1, 1)),
    "nack": ("get", lambda p: p.nack(1, 1, 0, None)),
    "nack_step": ("get", lambda p: p.nack_step(1, 1, 0, None)),
    "reject": ("get", lambda p: p.reject(1, 1, "", None)),
    "reject_step": ("get", lambda p: p.reject_step(1, 1, "", None)),
    "give_back": ("get", lambda p: p.give_back(1, 1)),
    "extend": ("get", lambda p: p.extend(1, 1_000)),
    "prolong": ("get", lambda p: p.prolong(1, 1_000)),
    "stats": ("browse", lambda p: p.stats()),
    "peek": ("browse", lambda p: p.peek(1)),
    "find": ("browse", lambda p: p.find(None, "id", 1, None)),
    "delete": ("manage", lambda p: p.delete(None)),
    "delay": ("manage", lambda p: p.delay(None, 1_000)),
    "move": ("manage", lambda p: p.move(None, "orders")),
    "redrive": ("manage", lambda p: p.redrive(1)),
    "redrive_found": ("manage", lambda p: p.redrive_found(None)),
    "purge": ("manage", lambda p: p.purge()),
    "bind": ("manage", lambda p: p.bind("orders", "#")),
    "unbind": ("manage", lambda p: p.unbind("orders", "#")),
    "shut_down": ("manage", lambda p: p.shut_down(immediate=True)),
    "live": (None, lambda p: p.live()),
    "waiting": (None, lambda p: p.waiting()),
    "is_full": (None, lambda p: p.is_full()),
    "policy": (None, lambda p: p.policy()),
    "joined": (None, lambda p: p.joined()),
}


def test_every_guarded_verb_is_tried() -> None:
    mine = {"lease_reserved"}  # needs a reservation: tried with the iterator below
    assert set(VERBS) | mine == set(GUARDED) | {"put_one", "put_many", "put_step", "move", "bind"}
    for name, (right, _) in VERBS.items():
        assert GUARDED.get(name, right) == right


async def outcome(verb: Verb, port: Port) -> BaseException | None:
    """What a verb raises, within a moment."""
    try:
        async with asyncio.timeout(5):
            answer = verb(port)
            if inspect.isawaitable(answer):
                await answer
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_without_its_right_is_refused_and_does_nothing(name: str) -> None:
    needed, verb = VERBS[name]
    given_rights = [each for each in RIGHTS if each != needed]
    if needed is None:
        given_rights = []
    has = rights(("orders", ",".join(RIGHTS)))
    async with two_brokers(has) as (everything, broker):
        queue: Queue[Any] = everything.queue("orders")
        await queue.put_many(["a", "b"])
        port = broker.queue("orders").port
        assert isinstance(port, GuardedPort)
        has.replace([Grant("orders", tuple(given_rights))] if given_rights else [])
        before = await queue.stats(), await everything.topic("orders").bindings()
        error = await outcome(verb, port)
        assert isinstance(error, AccessDenied), error
        assert (error.user, error.queue) == ("ada", "orders")
        assert error.right == (needed or "browse")
        after = await queue.stats(), await everything.topic("orders").bindings()
        assert [(s.waiting, s.delayed, s.in_flight, s.put) for s, _ in (before, after)] == [
            (2, 0, 0, 2)
        ] * 2
        assert before[1] == after[1] == []


@pytest.mark.parametrize("name", VERBS)
async def test_a_verb_with_only_its_right_is_not_refused(name: str) -> None:
    needed, verb = VERBS[name]
    extra = {"bind": ",get", "move": ",put"}.get(name, "")
    has = rights(("orders", f"{needed or 'put'}{extra}"))
    async with two_brokers(has) as (everything, broker):
        await everything.queue("orders").put_many(["a", "b"])
        port = broker.queue("orders").port
        assert isinstance(port, GuardedPort)
        if name == "joined":
            await everything.queue("orders").purge()
        error = await outcome(verb, port)
        assert not isinstance(error, AccessDenied), error
        if name not in (
            "ack_one",
            "ack_durably",
            "ack_batch",
            "nack",
            "reject",
            "give_back",
            "extend",
        ):
            assert error is None  # those have no such lease


# ---------------------------------------------------------------- the faces


async def refused(work: Awaitable[Any]) -> AccessDenied:
    """What was raised, which must be AccessDenied."""
    with pytest.raises(AccessDenied) as caught:
        await work
    return caught.value


async def test_a_name_without_any_right_is_not_there_at_all() -> None:
    async with two_brokers(rights(("mine", "put,get"))) as (everything, broker):
        await everything.queue("secret").put("x")
        for name in ("secret", "not-even-there"):
            with pytest.raises(AccessDenied, match="no right to browse"):
                broker.queue(name)
        assert await everything.queue_names() == ["secret"]


async def test_lists_show_what_may_be_seen() -> None:
    has = rights(("a", "put"), ("b", "browse"), ("news", "get"))
    async with two_brokers(has) as (everything, broker):
        for name in ("a", "b", "c"):
            await everything.queue(name).put("x")
            await everything.queue(name).bind(everything.topic("news"), name)
        await everything.queue("b").bind(everything.topic("other"))
        assert await broker.queue_names() == ["a", "b"]
        assert [each.name for each in await broker.stats()] == ["b"]
        assert sorted(await broker.topic("news").bindings()) == [("a", "a"), ("b", "b")]
        assert await broker.topic("other").bindings() == []


async def test_making_a_queue_takes_manage() -> None:
    has = rights(("orders*", "put,get,browse"))
    async with two_brokers(has) as (everything, broker):
        with pytest.raises(AccessDenied) as caught:
            broker.queue("orders")
        assert caught.value.right == "manage"
        everything.queue("orders", max_messages=5)
        queue: Queue[Any] = broker.queue("orders", max_messages=5)  # as it is: nothing changes
        await queue.put("x")
        with pytest.raises(AccessDenied):
            broker.queue("orders", max_messages=6)
        assert everything.queue("orders").policy.max_messages == 5


async def test_a_policy_cannot_put_where_its_maker_may_not() -> None:
    has = rights(("mine*", "put,get,browse,manage"), ("open", "put"))
    async with two_brokers(has) as (everything, broker):
        everything.queue("victim")
        everything.queue("open")
        with pytest.raises(AccessDenied) as caught:
            broker.queue("mine", dead_letter="victim")
        assert (caught.value.right, caught.value.queue) == ("put", "victim")
        assert "mine" not in await everything.queue_names()
        broker.queue("mine", dead_letter="open")
        broker.queue("mine2", dead_letter="mine2.dead")


async def test_a_move_takes_put_on_its_target() -> None:
    has = rights(("mine", "put,get,browse,manage"), ("seen", "get,browse,manage"))
    async with two_brokers(has) as (everything, broker):
        everything.queue("seen")
        everything.queue("hidden")
        queue: Queue[Any] = broker.queue("mine")
        await queue.put("x")
        for target in ("seen", "hidden", "new"):
            error = await refused(queue.port.move(None, target))
            assert (error.right, error.queue) == ("put", target)
        has.replace([Grant("mine", RIGHTS), Grant("new", ("put",))])
        assert (await refused(queue.port.move(None, "new"))).right == "manage"
        assert "new" not in await everything.queue_names()
        assert (await queue.stats()).waiting == 1


async def test_a_binding_takes_get_on_the_topic() -> None:
    has = rights(("spy", "put,get,browse,manage"))
    async with two_brokers(has) as (everything, broker):
        queue: Queue[Any] = broker.queue("spy")
        error = await refused(queue.bind(broker.topic("payments")))
        assert (error.right, error.queue) == ("get", "payments")
        assert await everything.topic("payments").bindings() == []


async def test_publishing_takes_put_on_the_topic_and_on_no_queue() -> None:
    has = rights(("news", "put"))
    async with two_brokers(has) as (everything, broker):
        target: Queue[Any] = everything.queue("target")
        await target.bind(everything.topic("news"))
        await target.bind(everything.topic("other"))
        assert list(await broker.topic("news").publish("hello")) == ["target"]
        async with broker.transaction() as tx:
            tx.publish(broker.topic("news"), "again")
        assert (await target.stats()).waiting == 2
        # It says nothing about whether anybody is bound.
        for topic in ("other", "unbound"):
            error = await refused(broker.topic(topic).publish("x"))
            assert (error.right, error.queue) == ("put", topic)
        assert (await target.stats()).waiting == 2


async def test_no_put_tells_the_story_of_a_dead_letter() -> None:
    async with two_brokers(rights(("*", "put,get,browse,manage"))) as (_, broker):
        port = broker.queue("orders").port
        assert isinstance(port, GuardedPort)
        for forged in (Traits(death=b"\x81\xa1a\xa1b"), Traits(rank=5)):
            for attempt in (
                lambda t: port.put_one(KIND_TEXT, b"x", b"", t),
                lambda t: port.put_many(KIND_TEXT, [b"x"], b"", t),
                lambda t: port.put_step(KIND_TEXT, b"x", b"", t),
            ):
                with pytest.raises(BadArgument, match="where its message died"):
                    attempt(forged)
            with pytest.raises(BadArgument, match="where its message died"):
                await port.put_one_waiting(KIND_TEXT, b"x", b"", forged, 1.0)
        assert port.waiting() == 0


async def test_dead_letters_follow_their_own_name() -> None:
    has = rights(("orders", "put,get"))
    async with two_brokers(has) as (everything, broker):
        everything.queue("orders")
        queue: Queue[Any] = broker.queue("orders")
        await queue.put("x")
        await (await queue.get()).reject("bad")
        assert (await everything.queue("orders.dead").stats()).waiting == 1
        assert await broker.queue_names() == ["orders"]
        with pytest.raises(AccessDenied):
            broker.queue("orders.dead")


async def test_a_transaction_asks_at_every_step_and_at_the_commit() -> None:
    has = rights(("in", "get"), ("out", "put"))
    async with two_brokers(has) as (everything, broker):
        everything.queue("out")
        await everything.queue("in").put("x")
        source: Queue[Any] = broker.queue("in")
        target: Queue[Any] = broker.queue("out")
        message = await source.get()
        with pytest.raises(AccessDenied):
            async with broker.transaction() as tx:
                tx.ack(message)
                tx.put(source, "not allowed")
        for lost in (Grant("in", ("get",)), Grant("out", ("put",))):
            has.replace([Grant("in", ("get",)), Grant("out", ("put",))])
            with pytest.raises(AccessDenied):
                async with broker.transaction() as tx:
                    tx.ack(message)
                    tx.put(target, "y")
                    has.replace([each for each in has.grants if each != lost])
        has.replace([Grant("in", ("get",)), Grant("out", ("put",))])
        figures = await everything.queue("in").stats(), await everything.queue("out").stats()
        assert (figures[0].in_flight, figures[1].waiting) == (1, 0)
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.put(target, "y")
        assert (await everything.queue("in").stats()).in_flight == 0


async def test_a_step_that_no_session_made_is_asked_for_too() -> None:
    async with two_brokers(rights()) as (everything, _):
        state = everything.queue("b").port
        step = state.put_step(KIND_TEXT, b"x", b"", None)
        assert isinstance(step, PutStep)
        backend = Entitled(everything.queue("b").port.broker, rights(("a", "put")))  # type: ignore[arg-type]
        with pytest.raises(AccessDenied):
            await backend.commit([step], None, lambda: None)
        assert (await everything.queue("b").stats()).waiting == 0


# ---------------------------------------------------------------- downgraded while in use


async def test_an_iterator_ends_with_the_right() -> None:
    has = rights(("orders", "put,get"))
    async with two_brokers(has) as (everything, broker):
        everything.queue("orders")
        queue: Queue[Any] = broker.queue("orders")
        await queue.put_many(list(range(10)))
        got = []
        with pytest.raises(AccessDenied):
            async for message in queue:
                got.append(message.body)
                await message.ack()
                if len(got) == 3:
                    has.replace([Grant("orders", ("put",))])
        assert got == [0, 1, 2]
        assert (await everything.queue("orders").stats()).waiting == 7


@pytest.mark.parametrize("verb", ["get", "get_many", "select", "put"])
async def test_who_waits_is_refused_when_the_wait_ends(verb: str) -> None:
    has = rights(("orders", "put,get"))
    async with two_brokers(has) as (everything, broker):
        whole: Queue[Any] = everything.queue("orders", max_messages=1)
        queue: Queue[Any] = broker.queue("orders")
        if verb == "put":
            await whole.put("first")
        work: dict[str, Callable[[], Any]] = {
            "get": queue.get,
            "get_many": lambda: queue.get_many(5),
            "select": lambda: queue.get(where="priority == 0"),
            "put": lambda: queue.put("second"),
        }
        waiting = asyncio.ensure_future(work[verb]())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        has.replace([])
        if verb == "put":
            await (await whole.get()).ack()
        else:
            await whole.put("x")
        async with asyncio.timeout(5):
            await refused(waiting)
        figures = await whole.stats()
        assert (figures.waiting, figures.in_flight) == ((0, 0) if verb == "put" else (1, 0))


async def test_an_ended_login_says_so_and_stays_ended() -> None:
    has = rights(("*", "put,get,browse,manage"))
    heard: list[str] = []
    has.on_end(heard.append)
    async with two_brokers(has) as (_, broker):
        queue: Queue[Any] = broker.queue("orders")
        await queue.put("x")
        has.end("the user was removed")
        has.end("again")
        has.replace([Grant("*", RIGHTS)])
        error = await refused(queue.put("y"))
        assert "the login of user 'ada' has ended: the user was removed" in str(error)
        assert await broker.queue_names() == []
        has.on_end(heard.append)
        assert heard == ["the user was removed"] * 2


async def test_a_session_without_rights_has_plain_ports() -> None:
    async with two_brokers(rights()) as (everything, _):
        assert type(everything.queue("orders").port) is Port
        assert isinstance(everything, Broker)
