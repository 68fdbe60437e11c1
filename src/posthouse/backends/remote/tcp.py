"""``tcp://host:port``: a server over TCP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from posthouse.access.client import split_user
from posthouse.access.redact import redact_url
from posthouse.backends.remote.backend import RemoteBackend, make
from posthouse.errors import BadArgument
from posthouse.link.options import Place

DEFAULT_PORT: Final = 7333


def connect(rest: str, options: Mapping[str, Any]) -> RemoteBackend:
    """The backend for ``tcp:`` and what follows.

    Options: those of `LinkOptions`, and of a login (`posthouse.access.client.LOGIN_OPTIONS`).
    """
    return connect_to("tcp", rest, options)


def connect_to(scheme: str, rest: str, options: Mapping[str, Any]) -> RemoteBackend:
    """The same for ``tcp`` or ``tls``."""
    url = f"{scheme}:{rest}"
    user, address = split_user(url, rest.removeprefix("//").rstrip("/"))
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        host, port = address, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if (
        not rest.startswith("//")
        or not host
        or "/" in host
        or not (port.isascii() and port.isdigit() and int(port) < 65536)
    ):
        raise BadArgument(f"write '{scheme}://HOST:PORT', not {redact_url(url)!r}")
    place = Place(host=host, port=int(port), tls=scheme == "tls")
    return make(place, options, scheme, user)
