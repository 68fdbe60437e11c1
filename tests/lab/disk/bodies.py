"""Bodies that tell whether they are whole: a name, a size, and a filling that both decide."""

from __future__ import annotations

from functools import lru_cache

from tests.lab.topics import copy_name

NAME_LENGTH = 8


@lru_cache(maxsize=4096)
def make_body(name: str, size_bytes: int) -> bytes:
    """A body of about ``size_bytes``, of this name (8 characters)."""
    assert len(name) == NAME_LENGTH
    head = f"{name}:{size_bytes:08d}:".encode()
    filling = (name.encode() + b"\xf5PHF\0\0\0\0") * (size_bytes // 16 + 1)
    return head + filling[: max(0, size_bytes - len(head))]


def name_of(body: bytes) -> str:
    """The body's name; raises ValueError if the body is not what was made."""
    name = body[:NAME_LENGTH].decode("ascii")
    if make_body(name, int(body[NAME_LENGTH + 1 : NAME_LENGTH + 9])) != body:
        raise ValueError(f"the body of {name} is not whole")
    return name


def story_name(body: bytes, queue: str) -> str:
    """The name that a history has for a message: of what was published, one for each queue.

    Raises ValueError as `name_of`.
    """
    return named_in(name_of(body), queue)


def named_in(name: str, queue: str) -> str:
    """What a history calls the body of this name in a queue, or in its dead-letter queue."""
    return copy_name(name, queue.partition(".")[0])
