"""The same queues for plain threads: a portal onto one event loop.

`open` a URL on a loop in a thread of its own, or `wrap` a broker that a running loop owns. The
classes have the names, arguments and meanings of `posthouse`'s; each verb is passed to the loop
and answered when it is done there. See docs/threads.md.
"""

from posthouse.sync.broker import Broker, open, wrap
from posthouse.sync.found import Found, Page
from posthouse.sync.message import Message
from posthouse.sync.queue import Queue
from posthouse.sync.receipt import Receipt
from posthouse.sync.topic import Topic
from posthouse.sync.transaction import Transaction

__all__ = [
    "Broker",
    "Found",
    "Message",
    "Page",
    "Queue",
    "Receipt",
    "Topic",
    "Transaction",
    "open",
    "wrap",
]
