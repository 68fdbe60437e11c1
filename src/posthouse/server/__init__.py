"""The server of the native protocol: one broker for many programs, over sockets."""

from posthouse.server.limits import Limits
from posthouse.server.server import Server

__all__ = ["Limits", "Server"]
