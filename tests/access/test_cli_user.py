"""``posthouse user``: what it writes, prints and refuses, as a user runs it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import stat
import subprocess
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from posthouse.access.file import read_users
from posthouse.access.hashing import Hasher
from posthouse.access.rights import Grant
from posthouse.access.secret import Secret
from tests.cli.commands import COMMAND, Ran, environment, inside, posthouse

PASSWORD = "correct horse battery"
FILE = "posthouse-users.json"


def run(*arguments: str, cwd: Path, stdin: str = "") -> Ran:
    return inside("user", *arguments, cwd=cwd, stdin=stdin)


def test_a_user_gets_a_token_once_and_the_file_has_its_hash(tmp_path: Path) -> None:
    added = run("add", "ada", "--allow", "put,get:orders.*", "--allow", "browse:*", cwd=tmp_path)
    assert added.code == 0
    token = added.out.rstrip("\n")
    assert token.startswith("pht_")
    assert "\n" not in token
    assert "user ada added" in added.err
    assert token not in added.err
    path = tmp_path / FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ada = read_users(str(path)).get("ada")
    assert token not in path.read_text()
    assert Hasher().fits(ada.credentials[0].hash, Secret(token))
    assert ada.credentials[0].id in token
    assert ada.credentials[0].expires_at is None
    assert ada.grants == (Grant("*", ("browse",)), Grant("orders.*", ("put", "get")))
    listed = run("list", cwd=tmp_path)
    assert "put,get on orders.*" in listed.out
    for shown in (listed.out, run("list", "--json", cwd=tmp_path).out):
        assert token not in shown
        assert "argon2" not in shown


def test_a_password_comes_from_a_file_or_standard_input(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text(f"{PASSWORD}\n")
    added = [
        run("add", "ada", "--password-file", "secret", cwd=tmp_path),
        run("add", "bob", "--password-file", "-", cwd=tmp_path, stdin=f"{PASSWORD}\n"),
    ]
    users = read_users(str(tmp_path / FILE))
    for ran, name in zip(added, ("ada", "bob"), strict=True):
        assert ran.code == 0, ran.err
        assert PASSWORD not in ran.out + ran.err
        made = users.get(name).credentials[0]
        assert made.kind == "password"
        assert Hasher().fits(made.hash, Secret(PASSWORD))
    secret.chmod(0o644)
    refused = run("add", "eve", "--password-file", "secret", cwd=tmp_path)
    assert (refused.code, refused.out) == (1, "")
    assert "open to others" in refused.err


def answer_prompts(*arguments: str, cwd: Path, answers: list[tuple[bytes, str]]) -> Ran:
    """Run on a terminal of its own, and type each answer when its prompt is there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=environment(TERM="xterm"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    shown = b""
    try:
        for prompt, text in answers:
            while prompt not in shown:  # its last space comes when the echo is off
                shown += os.read(ours, 4096)
            os.write(ours, f"{text}\n".encode())
        with contextlib.suppress(OSError):  # Linux says EIO when the other side is closed
            while chunk := os.read(ours, 4096):
                shown += chunk
        code = process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return Ran(code, shown.decode(), "")


@pytest.mark.timeout(60)
def test_a_password_is_asked_for_on_a_terminal_and_not_shown(tmp_path: Path) -> None:
    prompts = [(b"Password: ", PASSWORD), (b"Repeat for confirmation: ", PASSWORD)]
    ran = answer_prompts("user", "add", "ada", "--password", cwd=tmp_path, answers=prompts)
    assert ran.code == 0, ran.out
    assert "user ada added" in ran.out
    assert PASSWORD not in ran.out
    made = read_users(str(tmp_path / FILE)).get("ada").credentials[0]
    assert Hasher().fits(made.hash, Secret(PASSWORD))


def test_rotation_leaves_two_and_then_the_newer(tmp_path: Path) -> None:
    first = run("add", "ada", cwd=tmp_path).out.strip()
    rotated = run("rotate", "ada", "--old-expires", "2d", "--expires", "90d", cwd=tmp_path)
    second = rotated.out.strip()
    path = str(tmp_path / FILE)
    made = read_users(path).get("ada").credentials
    assert [each.id in token for each, token in zip(made, (first, second), strict=True)] == [
        True
    ] * 2
    now = datetime.now(UTC)
    for each, span in zip(made, (timedelta(days=2), timedelta(days=90)), strict=True):
        assert each.expires_at is not None
        assert abs(each.expires_at - now - span) < timedelta(minutes=5)
    third = run("rotate", "ada", "--old-expires", "0s", cwd=tmp_path).out.strip()
    made = read_users(path).get("ada").credentials
    assert [each.id in third for each in made] == [True]
    removed = run("remove", "ada", "--credential", made[0].id, cwd=tmp_path)
    assert removed.out == f"credential {made[0].id} of user ada removed\n"
    assert read_users(path).get("ada").credentials == ()
    assert "has no credential" in run("remove", "ada", "--credential", "x", cwd=tmp_path).err


def test_rights_and_users_are_changed_and_removed(tmp_path: Path) -> None:
    run("add", "worker", "--no-secret", "--certificate", "DNS:worker-1.example", cwd=tmp_path)
    allowed = run("allow", "worker", "orders.*", "get", "put", cwd=tmp_path)
    assert allowed.out == "user worker may: put,get on orders.*\n"
    assert run("deny", "worker", "orders.*", "get", cwd=tmp_path).out.endswith("put on orders.*\n")
    assert run("deny", "worker", "orders.*", cwd=tmp_path).out == "user worker may: nothing\n"
    listed = run("list", "--json", cwd=tmp_path).json[0]
    assert listed == [
        {
            "user": "worker",
            "credentials": [],
            "certificates": ["DNS:worker-1.example"],
            "grants": [],
        }
    ]
    assert run("remove", "worker", cwd=tmp_path).out == f"user worker removed from ./{FILE}\n"
    assert read_users(str(tmp_path / FILE)).users == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "ada"), "a user 'ada' already"),
        (("add", "a b"), "cannot name a user"),
        (("add", "eve", "--allow", "orders"), "takes RIGHTS:QUEUES"),
        (("add", "eve", "--allow", "own:orders"), "'own' is no right"),
        (("add", "eve", "--allow", "put:a*b"), "no pattern for queues"),
        (("add", "eve", "--expires", "soon"), "a span like 90d"),
        (("add", "eve", "--expires", "99999999d"), "longer than a hundred years"),
        (("add", "eve", "--expires", "-1d"), "a span like 90d"),
        (("add", "eve", "--certificate", "worker"), "no name of a certificate"),
        (("add", "eve", "--no-secret", "--password"), "neither a password"),
        (("add", "eve", "--password"), "asks on a terminal and there is none"),
        (("add", "eve", "--password", "--password-file", "x"), "not both"),
        (("add", "eve", "--password-file", "none"), "none: the secret file cannot be opened"),
        (("add", "eve", "--password-file", "-"), "standard input: the secret is empty"),
        (("rotate", "eve"), "there is no user 'eve'"),
        (("remove", "eve"), "there is no user 'eve'"),
        (("allow", "eve", "*", "put"), "there is no user 'eve'"),
        (("allow", "ada", "*", "own"), "'own' is no right"),
        (("deny", "ada", "*", "put"), "no such rights by the pattern"),
        (("list", "--users", "none"), "there is no users file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    assert run("add", "ada", "--no-secret", cwd=tmp_path).code == 0
    before = (tmp_path / FILE).read_bytes()
    ran = run(*arguments, cwd=tmp_path)
    assert ran.code != 0
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert says in ran.err
    assert (tmp_path / FILE).read_bytes() == before


def test_a_short_password_is_refused_unseen(tmp_path: Path) -> None:
    ran = run("add", "eve", "--password-file", "-", cwd=tmp_path, stdin="hunter2\n")
    assert "at least 12 characters" in ran.err
    assert "hunter2" not in ran.err
    assert not (tmp_path / FILE).exists()


def test_the_file_is_named_by_the_environment(tmp_path: Path) -> None:
    there = tmp_path / "there.json"
    ran = posthouse("user", "add", "ada", cwd=tmp_path, env={"POSTHOUSE_USERS": str(there)})
    assert ran.code == 0
    assert read_users(str(there)).find("ada") is not None
    assert "POSTHOUSE_USERS" not in environment() or os.environ["POSTHOUSE_USERS"]
