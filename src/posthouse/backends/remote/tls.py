"""``tls://host:port``: a server over TCP with TLS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from posthouse.backends.remote.backend import RemoteBackend
from posthouse.backends.remote.tcp import connect_to


def connect(rest: str, options: Mapping[str, Any]) -> RemoteBackend:
    """The backend for ``tls:`` and what follows.

    Options: as for ``tcp:``, and `posthouse.access.client.TLS_OPTIONS`.
    """
    return connect_to("tls", rest, options)
