"""``shared:./data``: see docs/sharing.md."""

from posthouse.backends.remote.shared.backend import connect

__all__ = ["connect"]
