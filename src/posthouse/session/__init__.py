"""One holder's view of an engine: its leases, its limits, one `Port` for each queue."""

from posthouse.session.port import Port
from posthouse.session.session import Session

__all__ = ["Port", "Session"]
