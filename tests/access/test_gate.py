"""Who comes in, who does not, what it costs, and what the log says."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from typing import Any

import msgspec
import pytest

from posthouse.access import failures
from posthouse.access.failures import Failures, peer_group
from posthouse.access.gate import Gate
from posthouse.access.hashing import Hasher, fresh_token
from posthouse.access.remembered import Remembered
from posthouse.access.rights import RIGHTS, Rights
from posthouse.access.secret import Secret
from posthouse.access.users import Users
from posthouse.errors import AccessDenied, AuthenticationFailed
from tests.access.people import (
    CHEAP,
    START_S,
    Clocks,
    CountingHasher,
    at,
    gate_of,
    password,
    token,
    user,
)

PASSWORD = "correct horse battery"
WRONG = "hunter2-hunter2"


async def come(
    gate: Gate, name: str, secret: Secret | str, mechanism: str = "", peer: str = "10.0.0.1"
) -> Rights:
    mechanism = mechanism or ("token" if isinstance(secret, Secret) else "password")
    given = secret if isinstance(secret, Secret) else Secret(secret)
    return await gate.admit(mechanism, name, given, peer=peer)


async def turned_away(gate: Gate, name: str, secret: Secret | str, **more: str) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        await come(gate, name, secret, **more)
    return str(caught.value)


async def test_passwords_and_tokens_let_their_user_in() -> None:
    made, secret = token("000000a1")
    clocks = Clocks()
    gate = gate_of(clocks, user("ada", password("000000a2", PASSWORD), made), user("bob"))
    for given in (PASSWORD, secret):
        rights = await come(gate, "ada", given)
        assert rights.user == "ada"
        assert rights.on("ada.orders") == frozenset(RIGHTS)
        assert rights.on("bob.orders") == frozenset()
    gate.close()


async def test_all_refusals_are_alike_and_the_log_says_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made, secret = token("000000a1", expires_s=100)
    other, others = token("000000b1")
    clocks = Clocks()
    ada = user("ada", password("000000a2", PASSWORD, expires_s=100), made)
    gate = gate_of(clocks, ada, user("bob", other))
    texts, secrets = set(), [WRONG, PASSWORD, secret.reveal(), others.reveal()]
    with caplog.at_level(logging.INFO):
        texts.add(await turned_away(gate, "ada", WRONG, peer="10.0.1.1"))
        texts.add(await turned_away(gate, "eve", WRONG, peer="10.0.2.1"))
        texts.add(await turned_away(gate, "ada", others, peer="10.0.3.1"))
        texts.add(await turned_away(gate, "bob", secret, peer="10.0.4.1"))
        texts.add(await turned_away(gate, "ada", secret.reveal(), peer="10.0.5.1"))
        texts.add(await turned_away(gate, "ada", Secret(PASSWORD), peer="10.0.6.1"))
        texts.add(await turned_away(gate, "ada", fresh_token("000000a1"), peer="10.0.7.1"))
        # A secret typed where the name goes is not logged either.
        texts.add(await turned_away(gate, PASSWORD, PASSWORD, peer="10.0.8.1"))
        texts.add(await turned_away(gate, secret.reveal(), secret, peer="10.0.9.1"))
        texts.add(await turned_away(gate, "ada", PASSWORD, mechanism="none"))
        texts.add(await turned_away(gate, "", PASSWORD))
        clocks.go(101)
        texts.add(await turned_away(gate, "ada", PASSWORD, peer="10.1.1.1"))
        texts.add(await turned_away(gate, "ada", secret, peer="10.1.2.1"))
    gate.close()
    assert len(texts) == 1
    assert len(caplog.records) == 13
    assert "refused user 'ada' from '10.0.1.1': the password is wrong" in caplog.text
    assert "refused an unknown user from '10.0.2.1': there is no such user" in caplog.text
    assert "its password 000000a2 has expired" in caplog.text
    assert "its token 000000a1 has expired" in caplog.text
    for each in secrets:
        assert each not in caplog.text
        assert each not in "".join(texts)


async def test_no_line_of_the_log_is_forged() -> None:
    gate = gate_of(Clocks(), user("ada"))
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("posthouse.access").addHandler(handler)
    try:
        await turned_away(gate, "a\nuser 'ada' came in", WRONG, peer="10.0.0.1\nforged")
    finally:
        logging.getLogger("posthouse.access").removeHandler(handler)
    gate.close()
    assert len(records) == 1
    assert "\n" not in records[0]


@pytest.mark.parametrize("mechanism", ["password", "token"])
async def test_the_work_is_the_same_for_everybody(mechanism: str) -> None:
    """Counted, not timed: how many hashes are computed tells nothing about the user."""
    hasher = CountingHasher()
    first, _ = token("000000a1")
    gate = gate_of(
        Clocks(),
        user("both", password("000000b1", PASSWORD), password("000000b2", PASSWORD + "2")),
        user("one", password("000000c1", PASSWORD)),
        user("tokens", first),
        user("none"),
        hasher=hasher,
    )
    wrong = fresh_token("000000a1") if mechanism == "token" else Secret(WRONG)
    counts = {}
    for number, name in enumerate(("both", "one", "tokens", "none", "nobody")):
        before = hasher.checks
        await turned_away(gate, name, wrong, mechanism=mechanism, peer=f"10.0.{number}.1")
        counts[name] = hasher.checks - before
    gate.close()
    assert set(counts.values()) == {2 if mechanism == "password" else 1}, counts


async def test_a_good_password_costs_what_a_wrong_one_costs() -> None:
    hasher = CountingHasher()
    gate = gate_of(
        Clocks(),
        user("ada", password("000000b1", PASSWORD), password("000000b2", PASSWORD + "2")),
        hasher=hasher,
    )
    spent = []
    for given in (PASSWORD, PASSWORD + "2"):
        before = hasher.checks
        await come(gate, "ada", given)
        spent.append(hasher.checks - before)
    gate.close()
    assert spent == [2, 2]


# ---------------------------------------------------------------- what is remembered


async def test_a_thousand_reconnects_cost_few_hashes() -> None:
    hasher = CountingHasher()
    made, secret = token("000000a1")
    clocks = Clocks()
    gate = gate_of(clocks, user("ada", made), hasher=hasher)
    logins = await asyncio.gather(*(come(gate, "ada", secret) for _ in range(1_000)))
    assert {each.user for each in logins} == {"ada"}
    assert hasher.checks <= 2  # two hands
    clocks.go(299)
    await come(gate, "ada", secret)
    assert hasher.checks <= 2
    clocks.go(2)  # five minutes from when it was checked, however often it was used
    before = hasher.checks
    await come(gate, "ada", secret)
    assert hasher.checks == before + 1
    gate.close()


async def test_passwords_and_failures_are_not_remembered() -> None:
    hasher = CountingHasher()
    gate = gate_of(Clocks(), user("ada", password("000000a2", PASSWORD)), hasher=hasher)
    for _ in range(3):
        await come(gate, "ada", PASSWORD)
    assert hasher.checks == 6
    wrong = fresh_token("000000a2")
    for _ in range(3):
        await turned_away(gate, "ada", wrong)
    assert hasher.checks == 9
    gate.close()


async def test_a_remembered_token_is_refused_when_it_is_removed_or_expires() -> None:
    made, secret = token("000000a1", expires_s=60)
    clocks = Clocks()
    gate = gate_of(clocks, user("ada", made))
    await come(gate, "ada", secret)
    clocks.go(61)
    await turned_away(gate, "ada", secret)
    clocks.go(-61)
    gate.replace(Users(users=(user("ada"),)))
    await turned_away(gate, "ada", secret)
    gate.close()


def test_what_is_remembered_is_bounded_and_shows_no_token() -> None:
    kept = Remembered(lambda: 0.0, most_kept=3)
    marks = [kept.mark("ada", Secret(f"secret-{n}")) for n in range(5)]
    for mark in marks:
        kept.keep(mark, "hash")
    assert [kept.find(mark) for mark in marks] == [None, None, "hash", "hash", "hash"]
    assert kept.mark("ada", Secret("b")) != Remembered(lambda: 0.0).mark("ada", Secret("b"))
    assert kept.mark("a", Secret("b")) != kept.mark("b", Secret("b"))
    assert b"secret" not in b"".join(marks)


# ---------------------------------------------------------------- guessing


async def test_guesses_are_slowed_and_right_secrets_elsewhere_are_not() -> None:
    hasher = CountingHasher()
    clocks = Clocks()
    gate = gate_of(clocks, user("ada", password("000000a2", PASSWORD)), hasher=hasher)
    for _ in range(failures.PER_USER_AND_PEER.burst):
        assert "was refused" in await turned_away(gate, "ada", WRONG)
    before = hasher.checks
    with pytest.raises(AuthenticationFailed, match="too many failed logins") as caught:
        await come(gate, "ada", PASSWORD)
    assert 0 < caught.value.retry_after_s <= failures.PER_USER_AND_PEER.every_s
    assert hasher.checks == before  # and it costs nothing
    assert (await come(gate, "ada", PASSWORD, peer="10.9.9.9")).user == "ada"
    clocks.go(caught.value.retry_after_s)
    assert (await come(gate, "ada", PASSWORD)).user == "ada"
    gate.close()


async def test_many_guesses_at_once_are_not_uncounted() -> None:
    hasher = CountingHasher()
    gate = gate_of(Clocks(), user("ada", password("000000a2", PASSWORD)), hasher=hasher)
    outcomes = await asyncio.gather(
        *(come(gate, "ada", f"{WRONG}-{n}") for n in range(200)), return_exceptions=True
    )
    assert all(isinstance(each, AuthenticationFailed) for each in outcomes)
    most = failures.PER_USER_AND_PEER.burst + 1  # the other hand may have begun
    assert hasher.checks <= 2 * most
    gate.close()


@pytest.mark.parametrize(
    ("user_of", "peer_of", "allowance"),
    [
        (lambda n: "ada", lambda n: "10.0.0.1", failures.PER_USER_AND_PEER),
        (lambda n: f"u{n}", lambda n: "10.0.0.1", failures.PER_PEER),
        (lambda n: "ada", lambda n: f"10.0.{n}.1", failures.PER_USER),
        (lambda n: f"u{n}", lambda n: f"2001:db8::{n:x}", failures.PER_PEER),
    ],
)
def test_failures_are_counted_three_ways(
    user_of: Any, peer_of: Any, allowance: failures.Allowance
) -> None:
    now_s = 0.0
    counted = Failures(lambda: now_s)
    done = 0
    while counted.wait_s(user_of(done), peer_of(done)) <= 0:
        counted.count(user_of(done), peer_of(done))
        done += 1
        assert done <= allowance.burst
    assert done == allowance.burst
    now_s += allowance.every_s
    assert counted.wait_s(user_of(done), peer_of(done)) <= 0


def test_what_is_counted_is_bounded() -> None:
    counted = Failures(lambda: 0.0, most_kept=30)
    for number in range(1_000):
        counted.count(f"u{number}", f"10.0.{number % 250}.1")
    assert counted.wait_s("u0", "10.0.0.1") <= 0  # forgotten
    for _ in range(100):
        counted.count("ada", "10.3.0.1")
    assert counted.wait_s("ada", "10.3.0.1") > 0


def test_an_ipv6_network_is_one_peer() -> None:
    assert peer_group("2001:db8:1:2::3") == peer_group("2001:db8:1:2:ffff::9")
    assert peer_group("2001:db8:1:2::3") != peer_group("2001:db8:1:3::3")
    assert peer_group("::ffff:10.0.0.1") == "10.0.0.1"
    assert peer_group("fe80::1%eth0") == peer_group("fe80::2%eth0")
    assert peer_group("unix:1000") == "unix:1000"


async def test_hanging_up_is_no_way_to_guess_for_nothing() -> None:
    started, go_on = threading.Event(), threading.Event()

    class Slow(Hasher):
        def fits(self, kept: str, secret: Secret) -> bool:
            started.set()
            go_on.wait(10)
            return super().fits(kept, secret)

    clocks = Clocks()
    slow = Slow(cheap=True)
    gate = gate_of(clocks, user("ada", password("000000a2", PASSWORD)), hasher=slow)
    for _ in range(failures.PER_USER_AND_PEER.burst):
        started.clear()
        guess = asyncio.ensure_future(come(gate, "ada", WRONG))
        await asyncio.get_running_loop().run_in_executor(None, started.wait, 10)
        guess.cancel()
        await asyncio.gather(guess, return_exceptions=True)
        go_on.set()
    with pytest.raises(AuthenticationFailed, match="too many"):
        await come(gate, "ada", PASSWORD)
    gate.close()


async def test_the_line_before_the_hands_is_bounded_and_the_loop_goes_on() -> None:
    go_on = threading.Event()

    class Slow(Hasher):
        def fits(self, kept: str, secret: Secret) -> bool:
            go_on.wait(10)
            return super().fits(kept, secret)

    slow = Slow(cheap=True)
    people = tuple(user(f"u{n}", password(f"{n:08x}", PASSWORD)) for n in range(20))
    gate = Gate(Users(users=people), hasher=slow, most_in_line=10)
    comers = [asyncio.ensure_future(come(gate, f"u{n}", PASSWORD)) for n in range(20)]
    turns = 0
    while sum(each.done() for each in comers) < 10:
        await asyncio.sleep(0)
        turns += 1
        assert turns < 10_000
    refused = [each.exception() for each in comers if each.done()]
    assert all(isinstance(each, AuthenticationFailed) for each in refused)
    assert all(getattr(each, "retry_after_s", 0) > 0 for each in refused)
    go_on.set()
    outcomes = await asyncio.gather(*comers, return_exceptions=True)
    assert sum(isinstance(each, Rights) for each in outcomes) == 10
    gate.close()


async def test_who_leaves_the_line_leaves_it_to_the_next() -> None:
    gate = gate_of(Clocks(), *(user(f"u{n}", password(f"{n:08x}", PASSWORD)) for n in range(50)))
    comers = [asyncio.ensure_future(come(gate, f"u{n}", PASSWORD)) for n in range(50)]
    await asyncio.sleep(0)
    for each in comers[:40]:
        each.cancel()
    outcomes = await asyncio.gather(*comers[40:])
    assert len(outcomes) == 10
    gate.close()
    await turned_away(gate, "u1", PASSWORD)


# ---------------------------------------------------------------- logins that end


async def test_a_login_follows_the_users_file() -> None:
    made, secret = token("000000a1")
    ada = user("ada", made)
    gate = gate_of(Clocks(), ada)
    rights = await come(gate, "ada", secret)
    rights.check("put", "ada.orders")
    gate.replace(Users(users=(msgspec.structs.replace(ada, grants=()),)))
    with pytest.raises(AccessDenied, match="no right to put"):
        rights.check("put", "ada.orders")
    gate.replace(Users(users=(ada,)))
    rights.check("put", "ada.orders")
    ended: list[str] = []
    rights.on_end(ended.append)
    gate.replace(Users(users=(user("ada"),)))
    assert ended == ["the credential was removed"]
    gate.replace(Users(users=(ada,)))
    with pytest.raises(AccessDenied, match="has ended"):
        rights.check("put", "ada.orders")
    gate.close()


async def test_a_login_ends_with_its_user() -> None:
    made, secret = token("000000a1")
    gate = gate_of(Clocks(), user("ada", made))
    rights = await come(gate, "ada", secret)
    gate.replace(Users())
    assert rights.ended == "the user was removed"
    gate.close()


async def test_a_login_ends_with_its_credential() -> None:
    """In real time, by the gate's own timer."""
    import time

    made, secret = token("000000a1")
    now_s = time.time()
    made = msgspec.structs.replace(made, expires_at=at(now_s - START_S + 0.2))
    gate = Gate(Users(users=(user("ada", made),)), hasher=CHEAP)
    rights = await come(gate, "ada", secret)
    ended = asyncio.Event()
    rights.on_end(lambda why: ended.set())
    async with asyncio.timeout(10):
        await ended.wait()
    assert rights.on("ada.orders") == frozenset()
    assert time.time() >= now_s + 0.2
    gate.close()


async def test_an_expiry_that_is_moved_nearer_ends_who_is_in() -> None:
    made, secret = token("000000a1")
    clocks = Clocks()
    gate = gate_of(clocks, user("ada", made))
    rights = await come(gate, "ada", secret)
    clocks.go(50)
    gate.replace(Users(users=(user("ada", msgspec.structs.replace(made, expires_at=at(40))),)))
    assert rights.ended == "what it was made with has expired"
    gate.close()


@pytest.mark.parametrize("jump_s", [-10 * 366 * 86_400.0, -3_600.0, 3_600.0, 10 * 366 * 86_400.0])
async def test_setting_the_clock_never_revives_a_credential(jump_s: float) -> None:
    made, secret = token("000000a1", expires_s=100)
    clocks = Clocks()
    gate = gate_of(clocks, user("ada", made))
    await come(gate, "ada", secret)
    clocks.wall_s += jump_s
    if jump_s > 0:  # forward: it is as if the time had passed
        await turned_away(gate, "ada", secret)
        clocks.wall_s -= jump_s
    await come(gate, "ada", secret)
    clocks.go(101)
    await turned_away(gate, "ada", secret)
    gate.close()


async def test_logins_that_nobody_holds_are_let_go() -> None:
    made, secret = token("000000a1")
    gate = gate_of(Clocks(), user("ada", made))
    logins = [await come(gate, "ada", secret) for _ in range(20)]
    kept = logins[0]
    del logins
    gc.collect()
    ended: list[str] = []
    kept.on_end(ended.append)
    gate.replace(Users())
    assert len(ended) == 1
    gate.close()


# ---------------------------------------------------------------- certificates

CERTIFICATE = {
    "subject": ((("organizationName", "posthouse"),), (("commonName", "ada"),)),
    "subjectAltName": (
        ("DNS", "worker-1.example"),
        ("URI", "spiffe://example/ada"),
        ("IP Address", "10.0.0.9"),
    ),
    "notAfter": "Jan 15 08:10:00 2027 GMT",
}


@pytest.mark.parametrize(
    "name", ["CN:ada", "DNS:worker-1.example", "URI:spiffe://example/ada", "IP:10.0.0.9"]
)
async def test_a_certificate_is_its_user(name: str) -> None:
    gate = gate_of(Clocks(), user("worker", certificates=(name,)), user("ada"))
    for said in ("", "worker"):
        rights = await gate.admit("certificate", said, None, peer="p", certificate=CERTIFICATE)
        assert rights.user == "worker"
    for said, shown in (("ada", CERTIFICATE), ("", {}), ("", None), ("worker", None)):
        with pytest.raises(AuthenticationFailed):
            await gate.admit("certificate", said, None, peer="p", certificate=shown)
    gate.close()


async def test_a_common_name_is_no_user_unless_the_file_says_so() -> None:
    gate = gate_of(Clocks(), user("ada"))
    with pytest.raises(AuthenticationFailed):
        await gate.admit("certificate", "", None, peer="p", certificate=CERTIFICATE)
    gate.close()


async def test_a_certificate_of_two_users_is_nobodys() -> None:
    gate = gate_of(
        Clocks(), user("a", certificates=("CN:ada",)), user("b", certificates=("IP:10.0.0.9",))
    )
    for said in ("", "a", "b"):
        with pytest.raises(AuthenticationFailed):
            await gate.admit("certificate", said, None, peer="p", certificate=CERTIFICATE)
    gate.close()


async def test_a_certificates_login_ends_with_it() -> None:
    clocks = Clocks()  # 2027-01-15 08:00:00 UTC
    ada = user("ada", certificates=("CN:ada",))
    gate = gate_of(clocks, ada)
    first = await gate.admit("certificate", "", None, peer="p", certificate=CERTIFICATE)
    clocks.go(601)
    gate.replace(Users(users=(ada,)))  # looks
    assert first.ended == "what it was made with has expired"
    with pytest.raises(AuthenticationFailed):
        await gate.admit("certificate", "", None, peer="p", certificate=CERTIFICATE)
    clocks.go(-601)
    second = await gate.admit("certificate", "", None, peer="p", certificate=CERTIFICATE)
    gate.replace(Users(users=(user("ada"),)))
    assert second.ended == "the certificate was removed from the user"
    gate.close()


def test_the_real_hasher_takes_its_time_and_memory() -> None:
    """What is stored has the work in it that RFC 9106 asks for."""
    kept = Hasher().hash(Secret(PASSWORD))
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert Hasher().fits(kept, Secret(PASSWORD))
    assert not Hasher().fits(kept, Secret(WRONG))
    assert not Hasher().fits("nonsense", Secret(WRONG))
    assert kept != Hasher().hash(Secret(PASSWORD))  # salted: no two alike
