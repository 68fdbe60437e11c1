"""Where a server may listen, and where a client may say its secret."""

from __future__ import annotations

import ipaddress

from posthouse.errors import BadArgument

UNSAFE_FLAG = "--let-anybody-on-the-network-in"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine alone. Names other than ``localhost`` are not looked up."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool(mapped.is_loopback if mapped is not None else address.is_loopback)


def check_listen(host: str, *, has_users: bool, has_tls: bool, unsafe: bool = False) -> None:
    """Raise unless a server may listen there.

    Args:
        host: an address or name, without the port; "" is every address. Socket files need no
            check: their permissions are owner-only.
        has_users: whether it asks who comes, by a users file.
        has_tls: whether it listens with TLS.
        unsafe: the operator insists.

    Raises:
        BadArgument: the host is not loopback and something is missing; the text says what.
    """
    if is_loopback(host) or unsafe:
        return
    missing = []
    if not has_users:
        missing.append("users (--users FILE, made by 'posthouse user add')")
    if not has_tls:
        missing.append("TLS (a tls:// address with --cert FILE --key FILE)")
    if missing:
        raise BadArgument(
            f"{ascii(host) if host else 'every address'} is not loopback: who can reach it could "
            f"read and write every queue. Listening there takes {' and '.join(missing)}; or listen "
            f"on 127.0.0.1 or a socket file. {UNSAFE_FLAG} does what it says"
        )


def check_may_say_secret(scheme: str, host: str) -> None:
    """Raise unless a client may send a password or token there.

    Raises:
        BadArgument: it would go over a network in the clear.
    """
    if scheme == "tcp" and not is_loopback(host):
        raise BadArgument(f"a password or token would go to {ascii(host)} in the clear; use tls://")
