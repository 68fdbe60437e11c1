"""posthouse (驿站): a durable message queue for Python's asyncio. See the README."""

from posthouse.broker import Broker, open
from posthouse.errors import (
    AccessDenied,
    AccessFileError,
    AlreadyOpen,
    AlreadySettled,
    AuthenticationFailed,
    BadArgument,
    BodyError,
    BrokerClosed,
    BrokerUnreachable,
    FilterError,
    ForkedProcess,
    InvalidName,
    LeaseExpired,
    LogDamaged,
    LogUnreadable,
    MessageTooLarge,
    PeerError,
    PosthouseError,
    ProtocolError,
    QueueEmpty,
    QueueFull,
    QueueShutDown,
    StorageFailed,
    StorageFull,
    UnknownOutcome,
    Unroutable,
    Unsupported,
    WrongLoop,
)
from posthouse.found import Found, Page
from posthouse.message import Message
from posthouse.model import QueuePolicy, QueueStats, Retry
from posthouse.queue import Queue
from posthouse.receipt import Receipt
from posthouse.topic import Topic
from posthouse.transaction import Transaction
from posthouse.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AccessFileError",
    "AlreadyOpen",
    "AlreadySettled",
    "AuthenticationFailed",
    "BadArgument",
    "BodyError",
    "Broker",
    "BrokerClosed",
    "BrokerUnreachable",
    "FilterError",
    "ForkedProcess",
    "Found",
    "InvalidName",
    "LeaseExpired",
    "LogDamaged",
    "LogUnreadable",
    "Message",
    "MessageTooLarge",
    "Page",
    "PeerError",
    "PosthouseError",
    "ProtocolError",
    "Queue",
    "QueueEmpty",
    "QueueFull",
    "QueuePolicy",
    "QueueShutDown",
    "QueueStats",
    "Receipt",
    "Retry",
    "StorageFailed",
    "StorageFull",
    "Topic",
    "Transaction",
    "UnknownOutcome",
    "Unroutable",
    "Unsupported",
    "Worker",
    "WrongLoop",
    "open",
]
