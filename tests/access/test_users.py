"""The users file: form, mode and changes; damaged, missing and foreign ones are refused."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.access import users as access
from posthouse.access.file import MAX_FILE_BYTES, change_users, read_users
from posthouse.access.hashing import check_hash, credential_of, fresh_token
from posthouse.access.private import read_private, read_public, write_private
from posthouse.access.rights import Grant
from posthouse.access.users import Credential, User, Users
from posthouse.errors import AccessFileError, BadArgument
from tests.access.people import at, password, token, user

PASSWORD = "correct horse battery"


def some_users() -> Users:
    made, _ = token("000000b1", expires_s=1_000)
    ada = user("ada", password("000000a1", PASSWORD), certificates=("DNS:ada.example",))
    return Users(users=(ada, user("bob", made)))


def written(path: Path, users: Users | None = None) -> Path:
    change_users(str(path), lambda _: users or some_users(), create=True)
    return path


def test_what_is_written_is_read_and_only_the_owner_may(tmp_path: Path) -> None:
    users = some_users()
    os.umask(0o077 & os.umask(0))  # whatever the umask is
    path = written(tmp_path / "users.json", users)
    assert read_users(str(path)) == users
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "users.json.lock").stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["users.json", "users.json.lock"]
    assert PASSWORD not in path.read_text()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640 | 0o020, 0o660, 0o666, 0o601])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "users.json")
    path.chmod(mode)
    with pytest.raises(AccessFileError, match=f"mode 0{mode:o}.*chmod 600") as caught:
        read_users(str(path))
    assert caught.value.path == str(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_whose_file_it_is_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "users.json")
    path.chmod(0o640)
    assert read_users(str(path)).users  # root's, and its group's
    path.chmod(0o600)
    os.chown(path, 65534, 65534)
    with pytest.raises(AccessFileError, match="belongs to user 65534"):
        read_users(str(path))


def test_what_is_no_file_is_refused_and_waits_for_nobody(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match="there is no users file; 'posthouse user add'"):
        read_users(str(tmp_path / "none"))
    with pytest.raises(AccessFileError, match="not a regular file"):
        read_users(str(tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(AccessFileError, match="not a regular file"):
        read_users(str(tmp_path / "fifo"))
    for path in ("", "a\0b"):
        with pytest.raises(AccessFileError, match="no path"):
            read_private(path, "the users file", 10)


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    real = written(tmp_path / "real.json")
    link = tmp_path / "link.json"
    link.symlink_to(real)
    change_users(str(link), lambda users: users.without("bob"))
    assert link.is_symlink()
    assert [each.name for each in read_users(str(real)).users] == ["ada"]
    real.chmod(0o644)
    with pytest.raises(AccessFileError, match="open to others"):
        read_users(str(link))


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    data = json.loads(msgspec.json.encode(some_users()))
    change(data)
    return json.dumps(data).encode()


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"users",
    "cut off": msgspec.json.encode(some_users())[:-20],
    "not UTF-8": b'{"format":"posthouse-users-1\xff"}',
    "another format": edited(lambda d: d.update(format="posthouse-users-2")),
    "a list": b"[]",
    "an unknown field": edited(lambda d: d.update(admin=True)),
    "an unknown field of a user": edited(lambda d: d["users"][0].update(root=True)),
    "no such right": edited(lambda d: d["users"][0]["grants"][0].update(rights=["own"])),
    "no right": edited(lambda d: d["users"][0]["grants"][0].update(rights=[])),
    "no pattern": edited(lambda d: d["users"][0]["grants"][0].update(queues="a*b*")),
    "no name": edited(lambda d: d["users"][0].update(name="a\nb")),
    "two of a name": edited(lambda d: d["users"][1].update(name="ada")),
    "two of an id": edited(lambda d: d["users"][1]["credentials"][0].update(id="000000a1")),
    "two of a certificate": edited(
        lambda d: d["users"][1].update(certificates=["DNS:ada.example"])
    ),
    "no certificate": edited(lambda d: d["users"][1].update(certificates=["ada.example"])),
    "a wildcard": edited(lambda d: d["users"][1].update(certificates=["DNS:*.example"])),
    "three credentials": edited(
        lambda d: d["users"][0].update(
            credentials=[{**d["users"][0]["credentials"][0], "id": f"0000000{n}"} for n in range(3)]
        )
    ),
    "a plain password": edited(
        lambda d: d["users"][0]["credentials"][0].update(hash="topsecret-topsecret")
    ),
    "another hash": edited(
        lambda d: d["users"][0]["credentials"][0].update(hash="$2b$12$topsecret-topsecret")
    ),
    "a hash that takes all memory": edited(
        lambda d: d["users"][0]["credentials"][0].update(
            hash="$argon2id$v=19$m=99999999,t=3,p=4$c2FsdHNhbHQ$topsecret-topsecret"
        )
    ),
    "an id that is none": edited(lambda d: d["users"][0]["credentials"][0].update(id="../../a")),
    "a time without its zone": edited(
        lambda d: d["users"][0]["credentials"][0].update(created_at="2026-11-24T10:00:00")
    ),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_refused_untouched_and_unseen(tmp_path: Path, what: str) -> None:
    path = tmp_path / "users.json"
    write_private(str(path), DAMAGED[what])
    with pytest.raises(AccessFileError, match="damaged|cannot be used") as caught:
        read_users(str(path))
    text = str(caught.value)
    assert str(path) in text
    assert "topsecret" not in text
    assert "argon2id$v=19$m=8" not in text
    with pytest.raises(AccessFileError):
        change_users(str(path), lambda users: users, create=True)
    assert path.read_bytes() == DAMAGED[what]


@given(st.binary(max_size=60), st.integers(0, 2_000))
def test_no_damage_comes_as_another_error(data: bytes, where: int) -> None:
    whole = bytearray(msgspec.json.encode(some_users()))
    where %= len(whole)
    whole[where : where + len(data)] = data
    try:
        users = access.check_users(msgspec.json.decode(whole, type=Users))
    except (msgspec.DecodeError, UnicodeDecodeError, BadArgument):
        return
    assert users.format == access.FORMAT


def test_a_file_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    write_private(str(path), b" " * (MAX_FILE_BYTES + 1))
    with pytest.raises(AccessFileError, match="larger than"):
        read_users(str(path))


def test_a_change_that_fails_leaves_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "users.json")
    before = path.read_bytes(), path.stat().st_ino
    with pytest.raises(BadArgument, match="there is no user 'eve'"):
        change_users(str(path), lambda users: users.without("eve"))
    with pytest.raises(BadArgument, match="a user 'ada' already"):
        change_users(str(path), lambda users: users.with_user(User("ada")))
    assert (path.read_bytes(), path.stat().st_ino) == before
    with pytest.raises(AccessFileError, match="the lock cannot be opened"):
        change_users(str(tmp_path / "no" / "where"), lambda users: users, create=True)


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "users.json")
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AccessFileError, match="No space left"):
        change_users(str(path), lambda users: users.without("bob"))
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["users.json", "users.json.lock"]


def _add(path: str, name: str) -> None:
    change_users(path, lambda users: users.with_user(User(name)), create=True)


def test_who_changes_it_at_once_loses_no_change(tmp_path: Path) -> None:
    path = str(tmp_path / "users.json")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_add, [(path, f"user{n}") for n in range(24)])
    assert {each.name for each in read_users(path).users} == {f"user{n}" for n in range(24)}


def test_the_lock_is_held_from_reading_to_writing(tmp_path: Path) -> None:
    path = str(tmp_path / "users.json")

    def change(users: Users) -> Users:
        with pytest.raises(BlockingIOError):
            try_lock()
        return users

    def try_lock() -> None:
        descriptor = os.open(f"{path}.lock", os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)

    change_users(path, change, create=True)
    try_lock()


def test_what_may_be_public_may_not_be_changed_by_others(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("x")
    path.chmod(0o644)
    assert read_public(str(path), "the file", 10) == b"x"
    path.chmod(0o664)
    with pytest.raises(AccessFileError, match="can be changed by others"):
        read_public(str(path), "the file", 10)


# ---------------------------------------------------------------- changes


def test_rotation_keeps_one_old_credential_for_a_while() -> None:
    first, second = password("00000001", PASSWORD, created_s=1), password("00000002", PASSWORD)
    third = password("00000003", PASSWORD, created_s=20)
    before = user("ada", msgspec.structs.replace(second, created_at=at(2)), first)
    after = access.rotated(before, third, at(100), at(20))
    assert [(c.id, c.expires_at) for c in after.credentials] == [
        ("00000002", at(100)),
        ("00000003", None),
    ]
    at_once = access.rotated(before, third, at(20), at(20))
    assert [c.id for c in at_once.credentials] == ["00000003"]


def test_rotation_prolongs_nothing_and_keeps_nothing_dead() -> None:
    new = password("00000003", PASSWORD, created_s=20)
    soon = user("ada", password("00000001", PASSWORD, expires_s=30))
    assert access.rotated(soon, new, at(100), at(20)).credentials[0].expires_at == at(30)
    dead = user("ada", password("00000001", PASSWORD, expires_s=10))
    assert [c.id for c in access.rotated(dead, new, at(100), at(20)).credentials] == ["00000003"]


def test_rights_are_added_and_taken_by_pattern() -> None:
    ada = User("ada")
    ada = access.allowed(ada, "orders.*", ["get", "put"])
    ada = access.allowed(ada, "orders.*", ["browse"])
    ada = access.allowed(ada, "*", ["browse"])
    assert ada.grants == (Grant("*", ("browse",)), Grant("orders.*", ("put", "get", "browse")))
    ada = access.denied(ada, "orders.*", ["get", "manage"])
    assert ada.grants[1].rights == ("put", "browse")
    ada = access.denied(ada, "orders.*", None)
    assert ada.grants == (Grant("*", ("browse",)),)
    with pytest.raises(BadArgument, match="no such rights by the pattern 'orders'; patterns: \\*"):
        access.denied(ada, "orders", ["browse"])


@pytest.mark.parametrize("name", ["", "-a", ".a", "@a", "a b", "a:b", "a/b", "é", "a" * 101, "a\n"])
def test_what_is_no_user_name_is_refused(name: str) -> None:
    with pytest.raises(BadArgument, match="cannot name a user"):
        access.check_user_name(name)


def test_a_token_names_its_credential_and_no_two_are_alike() -> None:
    tokens = {fresh_token("0000abcd").reveal() for _ in range(100)}
    assert len(tokens) == 100
    assert {credential_of(each) for each in tokens} == {"0000abcd"}
    assert all(len(each) == len("pht_0000abcd_") + 43 for each in tokens)
    for other in ("", "pht_", "pht_0000abcd_", "x" + tokens.pop(), tokens.pop() + "x"):
        assert credential_of(other) is None


def test_a_credential_does_not_show_its_hash() -> None:
    made = password("00000001", PASSWORD)
    for shown in (repr(made), str(user("ada", made)), f"{some_users()}"):
        assert "argon2" not in shown
    assert check_hash(made.hash) == made.hash
    assert isinstance(made, Credential)
