"""``posthouse user``: who may come in, with what secret, and what for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
import typer

from posthouse.access import hashing
from posthouse.access import users as access
from posthouse.access.file import change_users, read_users
from posthouse.access.hashing import Hasher
from posthouse.access.rights import RIGHTS
from posthouse.access.secret import Secret, secret_from_file, secret_from_stream
from posthouse.access.users import Credential, User, Users
from posthouse.cli import output
from posthouse.cli.failures import CommandError, complain
from posthouse.cli.options import JsonOption

DEFAULT_FILE: Final = "./posthouse-users.json"
STANDARD_INPUT: Final = "-"
DAY_S: Final = 24 * 3600
_SPANS: Final = {"s": 1, "m": 60, "h": 3600, "d": DAY_S}
_LONGEST_S: Final = 100 * 366 * DAY_S

app = typer.Typer(
    name="user",
    help="Users of a server: their secrets and their rights.",
    no_args_is_help=True,
    add_completion=False,
)

UsersOption = Annotated[
    str,
    typer.Option("--users", envvar="POSTHOUSE_USERS", metavar="FILE", help="The users file."),
]
NameArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's name.")]
QueuesArgument = Annotated[
    str,
    typer.Argument(metavar="QUEUES", help="A queue's or topic's name, 'beginning*', or '*'."),
]
PasswordFileOption = Annotated[
    str | None,
    typer.Option(
        "--password-file", metavar="FILE", help="A password of your own; '-': standard input."
    ),
]
PasswordOption = Annotated[
    bool, typer.Option("--password", help="A password of your own, asked for on the terminal.")
]
ExpiresOption = Annotated[
    str | None,
    typer.Option(
        "--expires", metavar="SPAN", help="Good for so long: 90d, 12h.", show_default=False
    ),
]


@app.command()
def add(
    name: NameArgument,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="RIGHTS:QUEUES", help="As in put,get:orders.*"),
    ] = None,
    password: PasswordOption = False,
    password_file: PasswordFileOption = None,
    no_secret: Annotated[
        bool, typer.Option("--no-secret", help="Comes in by certificate only.")
    ] = False,
    certificate: Annotated[
        list[str] | None,
        typer.Option("--certificate", metavar="NAME", help="As in DNS:worker-1 or CN:ada"),
    ] = None,
    expires: ExpiresOption = None,
    users: UsersOption = DEFAULT_FILE,
) -> None:
    """Add a user. A token is made and printed, this once, unless you give a password."""
    if no_secret and (password or password_file is not None or expires is not None):
        raise CommandError("--no-secret goes with neither a password nor --expires")
    expires_at = _until(expires)
    given = _given(password, password_file)
    user = User(name, certificates=tuple(map(access.check_certificate, certificate or ())))
    for each in allow or ():
        rights, colon, pattern = each.partition(":")
        if not colon:
            raise CommandError(f"--allow takes RIGHTS:QUEUES, as in put,get:orders.*, not {each!r}")
        user = access.allowed(user, pattern, rights.split(","))
    access.check_user_name(name)
    told: list[Secret] = []

    def change(old: Users) -> Users:
        added = user
        if not no_secret:
            credential = _credential(old, given, expires_at, told)
            added = msgspec.structs.replace(user, credentials=(credential,))
        return old.with_user(added)

    change_users(users, change, create=True)
    _say(f"user {name} added to {users}", told)


@app.command("list")
def show(users: UsersOption = DEFAULT_FILE, as_json: JsonOption = False) -> None:
    """List the users, what they come in with and what they may do. No secret is shown."""
    found = sorted(read_users(users).users, key=lambda user: user.name)
    if as_json:
        output.write_json([_record(user) for user in found])
        return
    head = ["user", "comes in by", "rights"]
    output.write_table(head, [[u.name, _entrances(u), _rights(u)] for u in found])


@app.command()
def rotate(
    name: NameArgument,
    password: PasswordOption = False,
    password_file: PasswordFileOption = None,
    expires: ExpiresOption = None,
    old_expires: Annotated[
        str, typer.Option(metavar="SPAN", help="The old one is good for so long; '0s': no longer.")
    ] = "7d",
    users: UsersOption = DEFAULT_FILE,
) -> None:
    """Give a user a new secret; the old one goes on for a while beside it."""
    expires_at = _until(expires)
    old_until = _now() + timedelta(seconds=_span("--old-expires", old_expires))
    given = _given(password, password_file)
    told: list[Secret] = []

    def change(old: Users) -> Users:
        credential = _credential(old, given, expires_at, told)
        return old.changed(name, lambda user: access.rotated(user, credential, old_until, _now()))

    change_users(users, change)
    _say(f"user {name} has a new secret; the old one is good until {_shown(old_until)}", told)


@app.command()
def remove(
    name: NameArgument,
    credential: Annotated[
        str | None,
        typer.Option("--credential", metavar="ID", help="Only this secret of the user's."),
    ] = None,
    users: UsersOption = DEFAULT_FILE,
) -> None:
    """Remove a user, or one secret. Who is logged in with it is out at the server's next look."""
    if credential is None:
        change_users(users, lambda old: old.without(name))
        output.write_line(f"user {name} removed from {users}")
        return

    def change(user: User) -> User:
        if user.credential(credential) is None:
            has = ", ".join(each.id for each in user.credentials) or "none"
            raise CommandError(f"user {name} has no credential {credential!r}; it has: {has}")
        kept = tuple(each for each in user.credentials if each.id != credential)
        return msgspec.structs.replace(user, credentials=kept)

    change_users(users, lambda old: old.changed(name, change))
    output.write_line(f"credential {credential} of user {name} removed")


@app.command()
def allow(
    name: NameArgument,
    queues: QueuesArgument,
    rights: Annotated[list[str], typer.Argument(metavar="RIGHT...", help=", ".join(RIGHTS))],
    users: UsersOption = DEFAULT_FILE,
) -> None:
    """Give a user rights."""
    _change_rights(users, name, lambda user: access.allowed(user, queues, rights))


@app.command()
def deny(
    name: NameArgument,
    queues: QueuesArgument,
    rights: Annotated[
        list[str] | None, typer.Argument(metavar="[RIGHT]...", help="Which; none: all of them.")
    ] = None,
    users: UsersOption = DEFAULT_FILE,
) -> None:
    """Take rights that were given with just this pattern back from a user."""
    _change_rights(users, name, lambda user: access.denied(user, queues, rights or None))


def _change_rights(path: str, name: str, change: Callable[[User], User]) -> None:
    changed = change_users(path, lambda old: old.changed(name, change)).get(name)
    output.write_line(f"user {name} may: {_rights(changed)}")


def _given(password: bool, password_file: str | None) -> Secret | None:
    """The password that was given; None: make a token."""
    if password and password_file is not None:
        raise CommandError("give --password or --password-file, not both")
    if password:
        if not sys.stdin.isatty():
            raise CommandError(
                "--password asks on a terminal and there is none; use --password-file"
            )
        asked = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return hashing.check_password(Secret(asked))
    if password_file == STANDARD_INPUT:
        return hashing.check_password(secret_from_stream(sys.stdin.buffer))
    if password_file is not None:
        return hashing.check_password(secret_from_file(password_file))
    return None


def _credential(
    users: Users, given: Secret | None, expires_at: datetime | None, told: list[Secret]
) -> Credential:
    """A new credential; a token that was made for it goes into ``told``."""
    number = access.new_credential_id(users)
    secret = given
    if secret is None:
        secret = hashing.fresh_token(number)
        told[:] = [secret]
    kind: access.Kind = "token" if given is None else "password"
    return Credential(number, kind, Hasher().hash(secret), _now(), expires_at)


def _say(text: str, told: list[Secret]) -> None:
    # The token alone on standard output, so that it can be sent to where it is kept.
    if not told:
        output.write_line(text)
        return
    complain(f"{text}; its token, which is shown only now:")
    output.write_line(told[0].reveal())


def _now() -> datetime:
    return datetime.fromtimestamp(int(time.time()), UTC)


def _until(span: str | None) -> datetime | None:
    return None if span is None else _now() + timedelta(seconds=_span("--expires", span))


def _span(option: str, text: str) -> int:
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit()) or unit not in _SPANS:
        raise CommandError(f"{option} takes a span like 90d, 12h, 30m or 45s, not {text!r}")
    span_s = int(number[:12]) * _SPANS[unit]
    if span_s > _LONGEST_S:
        raise CommandError(f"{option} {text!r} is longer than a hundred years")
    return span_s


def _shown(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


def _entrances(user: User) -> str:
    now = _now()
    parts = []
    for each in user.credentials:
        ends = ""
        if each.expires_at is not None:
            word = "expired" if each.expires_at <= now else "until"
            ends = f" {word} {_shown(each.expires_at)}"
        parts.append(f"{each.kind} {each.id}{ends}")
    return ", ".join([*parts, *user.certificates]) or "nothing"


def _rights(user: User) -> str:
    return "; ".join(f"{','.join(g.rights)} on {g.queues}" for g in user.grants) or "nothing"


def _record(user: User) -> dict[str, Any]:
    return {
        "user": user.name,
        "credentials": [
            {
                "id": each.id,
                "kind": each.kind,
                "created_at": each.created_at,
                "expires_at": each.expires_at,
            }
            for each in user.credentials
        ],
        "certificates": user.certificates,
        "grants": user.grants,
    }
