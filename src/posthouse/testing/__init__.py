"""What posthouse tests itself with, for backends and programs of others.

`serve` is a server beside a test; `posthouse.testing.contract` what every backend must hold.
"""

from posthouse.testing.serving import ServedBroker, serve

__all__ = ["ServedBroker", "serve"]
