"""Telling systemd how it goes (sd_notify(3)): one datagram to the socket that it names."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Final

PATIENCE_S: Final = 1.0
"""How long it may take who listens to make room for it: the server waits meanwhile."""


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send ``state``, like ``READY=1``; False if nobody asked to be told, or listens."""
    place = environment.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return False
    address = "\0" + place[1:] if place.startswith("@") else place
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(PATIENCE_S)
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError:
        return False
    return True
