"""``unix:path``: a server on this machine, over a Unix socket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posthouse.backends.remote.backend import RemoteBackend, make
from posthouse.errors import BadArgument
from posthouse.link.options import Place


def connect(rest: str, options: Mapping[str, Any]) -> RemoteBackend:
    """The backend for ``unix:`` and a path. Options: those of `LinkOptions`."""
    path = rest.removeprefix("//")
    if not path or "\0" in path:
        raise BadArgument("give the path of the server's socket, as in 'unix:/run/posthouse'")
    return make(Place(path=path), options, "unix")
