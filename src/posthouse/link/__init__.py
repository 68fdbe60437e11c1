"""A client's supervised connection to a server: see docs/design/protocol.md."""

from posthouse.link.link import Link
from posthouse.link.options import LinkOptions

__all__ = ["Link", "LinkOptions"]
