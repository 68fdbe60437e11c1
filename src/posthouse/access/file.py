"""The users file: read with its mode, owner and form checked, replaced whole under a lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

import msgspec

from posthouse.access.private import locked, read_private, write_private
from posthouse.access.users import Users, check_users
from posthouse.errors import AccessFileError, BadArgument

MAX_FILE_BYTES: Final = 16 * 1024 * 1024


def read_users(path: str) -> Users:
    """The users that the file holds.

    Raises:
        AccessFileError: it is missing, open to others, damaged, or holds what cannot be.
    """
    if not os.path.exists(path):
        raise AccessFileError(path, "there is no users file; 'posthouse user add' makes one")
    data = read_private(path, "the users file", MAX_FILE_BYTES)
    try:
        return check_users(msgspec.json.decode(data, type=Users))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # msgspec says where, and quotes nothing of what is there.
        raise AccessFileError(
            path, f"the users file is damaged: {error}; put back a copy, or make it anew"
        ) from None
    except BadArgument as error:
        raise AccessFileError(path, f"the users file cannot be used: {error}") from None


def change_users(path: str, change: Callable[[Users], Users], *, create: bool = False) -> Users:
    """Read, change and replace the users file, while nobody else does.

    ``create``: a file that is not there counts as one without users.

    Raises:
        AccessFileError: as `read_users`, or it cannot be written; it is as it was.
        BadArgument: what ``change`` raises.
    """
    with locked(path):
        fresh = create and not os.path.lexists(path)
        users = check_users(change(Users() if fresh else read_users(path)))
        data = msgspec.json.format(msgspec.json.encode(users), indent=2) + b"\n"
        write_private(path, data)
    return users
