"""Secrets are shown nowhere: URLs, errors, reprs, logs, pickles."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import posthouse
from posthouse.access.redact import redact_text, redact_url
from posthouse.access.secret import (
    Secret,
    secret_from_environment,
    secret_from_file,
    secret_from_stream,
)
from posthouse.backends.memory import MemoryBackend
from posthouse.broker import Broker
from posthouse.errors import AccessFileError, BadArgument, PosthouseError
from tests.cli.commands import inside

SECRET = "s3cr3t-s3cr3t"
URLS = [
    f"postgresql://ada:{SECRET}@db.example:5432/queues",
    f"postgresql://ada:{SECRET}@/queues?host=/run/postgresql",
    f"redis://:{SECRET}@cache.example/0",
    f"tls://ada:{SECRET}@posthouse.example:7333",
    f"tls://ada:pa@ss/{SECRET}@posthouse.example:7333",
    f"tls://ada:{SECRET}?x@posthouse.example",
    f"postgres//ada:{SECRET}@db.example",
    f"postgresql:ada:{SECRET}@db.example",
    f"ada:{SECRET}@db.example",
    f"sqs://eu-west-1/queue?secret_access_key={SECRET}&region=eu",
    f"postgresql://db.example/queues?user=ada&password={SECRET}",
    f"postgresql://db.example/queues?sslpassword={SECRET}#x",
    f"nats://host?auth_token={SECRET};tls=1",
    f"nosuch://ada:{SECRET}@host",
    f"tls://pht_0000abcd_{SECRET}@host",
]


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_shown_without_its_secret(url: str) -> None:
    shown = redact_url(url)
    assert SECRET not in shown
    assert "***" in shown
    assert SECRET not in redact_text(f"could not connect to {url!r}: timed out") or "://" not in url
    assert redact_url(shown) == shown


@pytest.mark.parametrize(
    "url",
    [
        "memory:",
        "./data",
        "log:./data",
        "log:/var/lib/posthouse",
        "sqlite:///q.db",
        "tcp://127.0.0.1:7333",
        "tls://ada@posthouse.example:7333",
        "unix:/run/posthouse.sock",
        "postgresql://db.example/queues?sslmode=verify-full",
        "",
    ],
)
def test_a_url_without_a_secret_is_shown_as_it_is(url: str) -> None:
    assert redact_url(url) == url
    assert redact_text(f"cannot open {url}") == f"cannot open {url}"


@given(
    st.sampled_from(["postgresql", "redis", "tls", "nosuch"]),
    st.text(st.characters(codec="ascii", exclude_characters=":@/?#&;= "), max_size=8),
    st.text(st.characters(codec="utf-8"), min_size=8).filter(lambda s: "*" not in s),
)
def test_no_password_is_left_whatever_is_in_it(scheme: str, name: str, password: str) -> None:
    assume(password not in f"{scheme}://{name}:***@db.example/q")
    shown = redact_url(f"{scheme}://{name}:{password}@db.example/q")
    assert password not in shown
    assert shown.endswith("@db.example/q")
    assert shown.startswith(f"{scheme}://{name}:")


@pytest.mark.parametrize("url", URLS)
def test_no_error_of_opening_shows_the_secret(url: str, tmp_path: Path) -> None:
    with pytest.raises((PosthouseError, OSError)) as caught:
        posthouse.open(url, require={"cluster"})
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    ran = inside("stats", "--url", url, cwd=tmp_path)
    assert ran.code != 0
    assert SECRET not in ran.out + ran.err


@pytest.mark.parametrize("url", URLS)
def test_no_broker_shows_the_secret(url: str) -> None:
    broker = Broker(url, MemoryBackend())
    assert SECRET not in repr(broker)
    assert SECRET not in broker.url


def test_our_tokens_are_hidden_in_any_text() -> None:
    text = f"Authorization: Bearer pht_0000abcd_{SECRET} (refused)"
    assert redact_text(text) == "Authorization: Bearer *** (refused)"


# ---------------------------------------------------------------- the value


def test_a_secret_shows_itself_only_when_asked(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(SECRET)
    with caplog.at_level(logging.INFO):
        logging.getLogger("posthouse").info("login %s %r", secret, {"a": secret})
    shown = [repr(secret), str(secret), f"{secret}", caplog.text, str([secret])]
    assert all(SECRET not in each for each in shown)
    assert secret.reveal() == SECRET
    assert secret == Secret(SECRET)
    assert secret != Secret(SECRET + "x")
    assert secret != SECRET
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)


@pytest.mark.parametrize("value", ["", "a\nb", "a\0b", "x" * 1025, "é" * 600, "\ud800"])
def test_what_is_no_secret_is_refused_unseen(value: str) -> None:
    with pytest.raises(BadArgument, match="the secret") as caught:
        Secret(value)
    assert not value or value not in str(caught.value)


def test_secrets_come_from_files_that_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for data in (f"{SECRET}", f"{SECRET}\n", f"{SECRET}\r\n"):
        path.write_bytes(data.encode())
        path.chmod(0o600)
        assert secret_from_file(str(path)) == Secret(SECRET)
    path.chmod(0o644)
    with pytest.raises(AccessFileError, match="open to others"):
        secret_from_file(str(path))
    path.chmod(0o600)
    for damaged in (b"", b"\n", f"{SECRET}\nmore\n".encode(), b"\xff" * 9, b"x" * 5_000):
        path.write_bytes(damaged)
        with pytest.raises(AccessFileError) as caught:
            secret_from_file(str(path))
        assert SECRET not in str(caught.value)
    with pytest.raises(AccessFileError, match="cannot be opened: No such file"):
        secret_from_file(str(tmp_path / "none"))


def test_secrets_come_from_the_environment_and_from_streams(tmp_path: Path) -> None:
    assert secret_from_environment("TOKEN", {"TOKEN": SECRET}) == Secret(SECRET)
    with pytest.raises(BadArgument, match="has no TOKEN"):
        secret_from_environment("TOKEN", {})
    with pytest.raises(BadArgument, match="TOKEN: the secret is empty"):
        secret_from_environment("TOKEN", {"TOKEN": ""})
    path = tmp_path / "in"
    path.write_bytes(f"{SECRET}\n".encode())
    with path.open("rb") as stream:
        assert secret_from_stream(stream) == Secret(SECRET)
    path.write_bytes(b"")
    with path.open("rb") as stream, pytest.raises(BadArgument, match="standard input: the secret"):
        secret_from_stream(stream)
