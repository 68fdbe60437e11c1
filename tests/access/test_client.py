"""What a client says of itself, where it may, and where a server may listen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from posthouse.access.client import Login, login_source, split_user
from posthouse.access.listen import UNSAFE_FLAG, check_listen, check_may_say_secret, is_loopback
from posthouse.access.secret import Secret
from posthouse.errors import AccessFileError, BadArgument

SECRET = "s3cr3t-s3cr3t"


def source(
    options: dict[str, Any],
    environ: dict[str, str] | None = None,
    url: str = "tls://posthouse.example:7333",
    user: str = "",
) -> Login:
    scheme, _, rest = url.partition("://")
    host = "" if scheme == "unix" else rest.rpartition(":")[0]
    return login_source(url, scheme, host, user, options, environ or {})()


def secret_file(path: Path, secret: str = SECRET) -> str:
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n")
    return str(path)


def test_a_login_comes_from_options_or_from_the_environment(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "secret")
    wanted = Login("token", "ada", Secret(SECRET))
    assert source({"user": "ada", "token": SECRET}) == wanted
    assert source({"user": "ada", "token": Secret(SECRET)}) == wanted
    assert source({"user": "ada", "token_file": path}) == wanted
    assert source({"token_file": tmp_path / "secret"}, user="ada") == wanted
    named = {"POSTHOUSE_USER": "ada"}
    assert source({}, {**named, "POSTHOUSE_TOKEN": SECRET}) == wanted
    assert source({}, {**named, "POSTHOUSE_TOKEN_FILE": path}) == wanted
    by_password = Login("password", "ada", Secret(SECRET))
    assert source({"user": "ada", "password": SECRET}) == by_password
    assert source({"user": "ada", "password_file": path}) == by_password
    assert source({}, {**named, "POSTHOUSE_PASSWORD": SECRET}) == by_password
    assert source({}, {**named, "POSTHOUSE_PASSWORD_FILE": path}) == by_password
    # What is said in the program counts.
    other = {"POSTHOUSE_USER": "eve", "POSTHOUSE_TOKEN": "another-secret"}
    assert source({"user": "ada", "token": SECRET}, other) == wanted
    assert source({}) == Login()
    assert source({"certificate_login": True}) == Login("certificate")
    assert source({"certificate_login": True, "user": "ada"}) == Login("certificate", "ada")


def test_a_file_is_read_for_every_connection(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "secret")
    login = login_source("tls://h", "tls", "h", "ada", {"token_file": path}, {})
    assert login().secret == Secret(SECRET)
    secret_file(tmp_path / "secret", "rotated-secret")
    assert login().secret == Secret("rotated-secret")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"user": "ada", "token": SECRET, "password": SECRET}, "not both"),
        ({"token": SECRET}, "a token needs a user"),
        ({"user": "ada"}, "user 'ada' has no password or token here"),
        ({"user": "ada", "token": ""}, "the secret is empty"),
        ({"user": "ada", "token": f"{SECRET}\n"}, "one line of text"),
        ({"certificate_login": True, "token": SECRET}, "no other secret"),
    ],
)
def test_what_cannot_be_a_login_is_refused_unseen(options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadArgument, match=says) as caught:
        source(options)
    assert SECRET not in str(caught.value)


def test_a_secret_file_that_is_open_is_refused_at_once(tmp_path: Path) -> None:
    path = secret_file(tmp_path / "secret")
    Path(path).chmod(0o644)
    with pytest.raises(AccessFileError, match="open to others"):
        login_source("tls://h", "tls", "h", "ada", {"token_file": path}, {})


def test_no_secret_goes_over_a_network_in_the_clear() -> None:
    given = {"user": "ada", "token": SECRET}
    with pytest.raises(BadArgument, match="in the clear; use tls://") as caught:
        source(given, url="tcp://10.0.0.1:7333")
    assert SECRET not in str(caught.value)
    for url in ("tcp://127.0.0.1:7333", "tcp://[::1]:7333", "unix://run", "tls://10.0.0.1:7333"):
        assert source(given, url=url).user == "ada"
    with pytest.raises(BadArgument, match="certificate_login needs tls://"):
        source({"certificate_login": True}, url="tcp://127.0.0.1:1")


def test_a_url_names_a_user_and_no_secret() -> None:
    assert split_user("tls://h:1", "h:1") == ("", "h:1")
    assert split_user("tls://ada@h:1", "ada@h:1") == ("ada", "h:1")
    with pytest.raises(BadArgument, match="no secret is taken from a URL") as caught:
        split_user(f"tls://ada:{SECRET}@h:1", f"ada:{SECRET}@h:1")
    assert SECRET not in str(caught.value)
    assert "tls://ada:***@h:1" in str(caught.value)


LOOPBACK = ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "LOCALHOST.", "::ffff:127.0.0.1"]
OPEN = [
    "",
    "*",
    "0.0.0.0",
    "::",
    "10.0.0.1",
    "192.168.1.1",
    "8.8.8.8",
    "posthouse.example",
    "localhost.example",
    "127.0.0.1.example",
    "fe80::1%eth0",
    "::ffff:0.0.0.0",
    "0",
    "127.1",
    "0177.0.0.1",
    "2130706433",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_loopback_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    check_listen(host, has_users=False, has_tls=False)
    check_may_say_secret("tcp", host)


@pytest.mark.parametrize("host", OPEN)
def test_the_network_takes_users_and_tls(host: str) -> None:
    assert not is_loopback(host)
    check_listen(host, has_users=True, has_tls=True)
    check_listen(host, has_users=False, has_tls=False, unsafe=True)
    for users, tls, missing, there in (
        (False, False, "--users", "-"),
        (False, True, "--users", "--cert"),
        (True, False, "--cert", "--users"),
    ):
        with pytest.raises(BadArgument, match="is not loopback") as caught:
            check_listen(host, has_users=users, has_tls=tls)
        text = str(caught.value)
        assert missing in text
        assert UNSAFE_FLAG in text
        assert there == "-" or there not in text
    check_may_say_secret("tls", host)
    with pytest.raises(BadArgument):
        check_may_say_secret("tcp", host)
