"""The protocol's constants, shared by both sides.

To change the protocol: a new optional field goes at the end of a message and has a default (the
other side ignores what it does not know at the end); a new message takes a new tag and raises
`VERSION`; a tag is never used again for something else.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
"""The newest version spoken, and so far the only one."""

LENGTH_BYTES: Final = 4
"""A frame begins with the length of what follows, big-endian."""

HELLO_BYTES: Final = 4096
"""The longest frame before the two sides have agreed."""

FRAME_BYTES: Final = 80 * 1024 * 1024
"""The longest frame by default: a batch of 64 MiB, and what describes 100,000 messages."""

LEAST_FRAME_BYTES: Final = 64 * 1024
"""No side may allow less."""

SESSION_BYTES: Final = 16
"""A session's secret id."""

MOST_NAME_BYTES: Final = 200
"""A client's own name in its hello."""
