"""Lines from standard input as they arrive: whole chunks, so that a fast source makes large
batches and a slow one is never held back."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import AsyncIterator
from typing import Final

from posthouse.errors import MessageTooLarge
from posthouse.model import MAX_BODY_BYTES

CHUNK_BYTES: Final = 1024 * 1024


async def stdin_lines() -> AsyncIterator[list[bytes]]:
    """The lines of standard input, without their ends, in the groups in which they came.

    Raises:
        MessageTooLarge: a line is over the limit of a body.
    """
    rest = b""
    async for chunk in _chunks():
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_BODY_BYTES:
            raise MessageTooLarge("a line of standard input", len(rest), MAX_BODY_BYTES)
        if lines:
            yield [line.removesuffix(b"\r") for line in lines]
    if rest:
        yield [rest.removesuffix(b"\r")]


async def _chunks() -> AsyncIterator[bytes]:
    try:
        descriptor = sys.stdin.fileno()
    except (io.UnsupportedOperation, ValueError):
        while chunk := sys.stdin.buffer.read(CHUNK_BYTES):
            yield chunk
        return
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
        watched = True
    except OSError:
        watched = False  # a regular file: always ready, and cannot be polled
    try:
        while True:
            if watched:
                await ready.wait()
                ready.clear()
            else:
                await asyncio.sleep(0)
            chunk = os.read(descriptor, CHUNK_BYTES)
            if not chunk:
                return
            yield chunk
    finally:
        if watched:
            loop.remove_reader(descriptor)


def stdin_size_bytes() -> int | None:
    """How much there is on standard input when that is a file, else None."""
    try:
        status = os.fstat(sys.stdin.fileno())
    except (io.UnsupportedOperation, ValueError, OSError):
        return None
    return status.st_size or None
