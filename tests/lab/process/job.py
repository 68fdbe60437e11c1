"""What a child process is told to do, and how its reports travel."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

LINE_BYTES: Final = 4096
"""A report of at most so many bytes reaches the pipe whole or not at all (POSIX PIPE_BUF)."""


class Job(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One life of a child.

    Attributes:
        directory: of the log.
        seed: of what it does and of its log's options.
        name: begins the keys of its bodies.
        work: ``"live"`` (see `life.Life`), ``"drain"`` (see `life.drain`), ``"put"`` (one
            message), ``"poison"`` (take one message and die of it).
        operations: how many things it does before it closes the broker and ends.
        kill_after_s: it is killed so many seconds after its birth; None: not from outside.
        fail_at: it kills itself at this fail point (see `posthouse.testing.failpoints`).
        wall_shift_s: its wall clock is so far off, seconds.
        rich: the queues that it has of `queues.RICH`.
    """

    directory: str
    seed: int
    name: str = ""
    work: Literal["live", "drain", "put", "poison"] = "live"
    operations: int = 60
    kill_after_s: float | None = None
    fail_at: str = ""
    wall_shift_s: float = 0.0
    rich: tuple[str, ...] = ()


encode_line: Final[Callable[[Any], bytes]] = msgspec.json.Encoder().encode
decode_job: Final = msgspec.json.Decoder(Job).decode
decode_report: Final = msgspec.json.Decoder(list[Any]).decode


def say_on(fd: int, *fields: Any) -> None:
    """Write one report. Blocking on purpose: it must be out before the next step."""
    line = encode_line(fields) + b"\n"
    assert len(line) <= LINE_BYTES or fields[0] == "left", f"a report of {len(line)} bytes"
    while line:
        line = line[os.write(fd, line) :]
