"""Where sockets are read to: one buffer for all connections of a thread.

A connection's bytes lie there only within one callback of its loop; what is not a whole message
then is kept by the connection itself. So ten thousand connections cost one such buffer.
"""

from __future__ import annotations

import threading

from posthouse.wire.frames import SCRATCH_BYTES

_local = threading.local()


def scratch() -> bytearray:
    """This thread's."""
    found: bytearray | None = getattr(_local, "scratch", None)
    if found is None:
        found = _local.scratch = bytearray(SCRATCH_BYTES)
    return found
