"""A server's files together: what is read, when it is read anew, and where it may listen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from posthouse.access.file import change_users
from posthouse.access.rights import RIGHTS
from posthouse.access.users import Users
from posthouse.errors import AccessFileError, AuthenticationFailed, BadArgument
from posthouse.server.admission import Admission
from tests.access.certificates import Authority
from tests.access.logs import hearing
from tests.access.people import password, user

PASSWORD = "correct horse battery"


def users_file(path: Path) -> str:
    change_users(
        str(path),
        lambda _: Users(users=(user("ada", password("000000a1", PASSWORD)),)),
        create=True,
    )
    return str(path)


async def come(admission: Admission, secret: str = PASSWORD, name: str = "ada") -> object:
    return await admission.admit("password", name, secret, peer="10.0.0.1", certificate=None)


async def test_a_changed_users_file_is_read_and_a_damaged_one_is_not(tmp_path: Path) -> None:
    path = users_file(tmp_path / "users.json")
    admission = await Admission.open(path, look_every_s=0.01)
    rights = await admission.admit("password", "ada", PASSWORD, peer="p", certificate=None)
    assert rights is not None
    assert rights.on("ada.x") == frozenset(RIGHTS)
    ended = asyncio.Event()
    rights.on_end(lambda why: ended.set())
    good = Path(path).read_bytes()
    for damaged in (b"{", b""):
        with hearing("the users file could not be reloaded") as heard:
            Path(path).write_bytes(damaged)
            async with asyncio.timeout(10):
                await heard.wait()
        assert await come(admission) is not None
    assert not ended.is_set()
    Path(path).write_bytes(good)
    change_users(path, lambda users: users.without("ada"))
    async with asyncio.timeout(10):
        await ended.wait()
    with pytest.raises(AuthenticationFailed):
        await come(admission)
    await admission.close()


async def test_what_no_secret_or_name_can_be_is_refused_like_any_other(tmp_path: Path) -> None:
    admission = await Admission.open(users_file(tmp_path / "users.json"))
    said = []
    for name, secret in (
        ("ada", "x" * 2_000),
        ("ada", ""),
        ("ada", "a\nb"),
        ("a" * 5_000, PASSWORD),
        ("", PASSWORD),
        ("\ud800", PASSWORD),
    ):
        with pytest.raises(AuthenticationFailed) as caught:
            await come(admission, secret, name)
        said.append(str(caught.value))
    assert len(set(said)) == 1
    await admission.close()
    with pytest.raises(AuthenticationFailed):
        await come(admission)


async def test_without_users_everybody_may_do_everything_and_nobody_has_a_name() -> None:
    admission = await Admission.open()
    assert await admission.admit("", "", "", peer="p", certificate=None) is None
    with pytest.raises(AuthenticationFailed, match="this server has no users"):
        await come(admission)
    await admission.close()


async def test_files_that_cannot_be_used_keep_a_server_from_starting(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("posthouse.example")
    with pytest.raises(AccessFileError, match="there is no users file"):
        await Admission.open(str(tmp_path / "none"))
    with pytest.raises(AccessFileError, match="the key cannot be opened"):
        await Admission.open(cert_file=files.cert, key_file=str(tmp_path / "none"))
    for more in ({"key_file": files.key}, {"client_ca_file": files.cert}):
        with pytest.raises(BadArgument, match="needs the server's certificate"):
            await Admission.open(**more)  # type: ignore[arg-type]


async def test_where_it_may_listen(tmp_path: Path) -> None:
    files = Authority(tmp_path).issue("posthouse.example")
    users = users_file(tmp_path / "users.json")
    whole = await Admission.open(users, files.cert, files.key)
    assert whole.check_listen("0.0.0.0", tls=True) is not None
    assert whole.check_listen("127.0.0.1", tls=False) is None
    with pytest.raises(BadArgument, match="is not loopback"):
        whole.check_listen("0.0.0.0", tls=False)
    await whole.close()
    bare = await Admission.open()
    assert bare.check_listen("localhost", tls=False) is None
    with pytest.raises(BadArgument, match="needs a certificate"):
        bare.check_listen("127.0.0.1", tls=True)
    assert bare.check_listen("0.0.0.0", tls=False, unsafe=True) is None
    await bare.close()
