"""``posthouse serve`` with users and TLS, and the other commands against it, as processes."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from posthouse.access.listen import UNSAFE_FLAG
from tests.access.certificates import Authority
from tests.cli.commands import COMMAND, Ran, environment, inside, posthouse


@dataclass
class Serving:
    """A server's process, where it listens, and its log."""

    process: subprocess.Popen[str]
    url: str
    log: Path


@contextlib.contextmanager
def serving(directory: Path, *arguments: str) -> Iterator[Serving]:
    """A server on a free port of loopback, with TLS."""
    log = directory / "log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*COMMAND, "serve", "data", "--listen", "tls://127.0.0.1:0", *arguments],
            cwd=directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.fullmatch(r"listening at (tls://127\.0\.0\.1:\d+)\n", said)
        assert found, (said, log.read_text())
        yield Serving(process, found[1].replace("127.0.0.1", "localhost"), log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.mark.timeout(120)
def test_a_server_with_users_and_tls_from_the_shell(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("localhost")
    token = inside(
        "user", "add", "ada", "--allow", "put,browse,manage:orders", cwd=tmp_path
    ).out.strip()
    given = ("--users", "posthouse-users.json", "--cert", files.cert, "--key", files.key)
    with serving(tmp_path, *given) as server:

        def run(*arguments: str, secret: str = token, **more: str) -> Ran:
            env = {"POSTHOUSE_CA_FILE": authority.file, "POSTHOUSE_USER": "ada", **more}
            return posthouse(
                *arguments,
                "--url",
                server.url,
                cwd=tmp_path,
                env={**env, "POSTHOUSE_TOKEN": secret},
            )

        put = run("put", "orders", "1", "2")
        assert (put.code, put.out) == (0, "2 messages put on orders\n"), put.err
        got = run("get", "orders")
        assert (got.code, got.out) == (1, "")
        assert "user 'ada' has no right to get on 'orders'" in got.err
        wrong = run("put", "orders", "3", secret="pht_00000000_" + "x" * 43)
        assert wrong.code == 1
        assert "the login was refused" in wrong.err

        assert inside("user", "allow", "ada", "orders", "get", cwd=tmp_path).code == 0
        server.process.send_signal(signal.SIGHUP)
        while "the users file reloaded" not in server.log.read_text():
            assert server.process.poll() is None
        assert run("get", "orders", "--all").out == "1\n2\n"
    log = server.log.read_text()
    assert "user 'ada' was denied get on 'orders'" in log
    assert "the token is wrong" in log
    for secret in (token, "x" * 43):
        assert secret not in log + put.err + got.err + wrong.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--listen", "tcp://0.0.0.0:0"), "'0.0.0.0' is not loopback"),
        (("--listen", "tcp://0.0.0.0:0", "--users", "users.json"), "TLS (a tls:// address"),
        (("--listen", "tls://0.0.0.0:0", "--cert", "server.pem", "--key", "server.key"), "--users"),
        (("--listen", "tls://127.0.0.1:0"), "needs a certificate"),
        (("--users", "none"), "none: there is no users file"),
        (("--key", "server.key"), "needs the server's certificate"),
        (("--cert", "server.pem", "--key", "none"), "none: the key cannot be opened"),
    ],
)
def test_a_server_that_would_be_open_does_not_start(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    Authority(tmp_path).issue("localhost")
    inside("user", "add", "ada", "--no-secret", "--users", "users.json", cwd=tmp_path)
    ran = posthouse("serve", "data", *arguments, cwd=tmp_path)
    assert ran.code == 1
    assert says in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert UNSAFE_FLAG == "--let-anybody-on-the-network-in"
