"""What the demo counts in Python source, and how counts add up. Pure but for reading a file."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterable

import msgspec
from msgspec.structs import astuple


class Counts(msgspec.Struct, frozen=True):
    """What was found in one file, or in many together. A file that does not parse is `failed`."""

    files: int = 0
    failed: int = 0
    lines: int = 0
    functions: int = 0
    async_functions: int = 0
    classes: int = 0
    imports: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def count_source(source: bytes) -> Counts:
    """Count one file's source. Source that does not parse still has its lines counted."""
    lines = len(source.splitlines())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Counts(files=1, failed=1, lines=lines)
    functions = async_functions = classes = imports = 0
    for node in ast.walk(tree):
        kind = type(node)
        if kind is ast.FunctionDef:
            functions += 1
        elif kind is ast.AsyncFunctionDef:
            async_functions += 1
        elif kind is ast.ClassDef:
            classes += 1
        elif kind is ast.Import or kind is ast.ImportFrom:
            imports += 1
    return Counts(1, 0, lines, functions, async_functions, classes, imports)


def read_source(path: str) -> bytes | None:
    """The file's bytes, or None when it cannot be read (which is counted as `failed`)."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def count_read(source: bytes | None) -> Counts:
    """Count what `read_source` returned."""
    return Counts(files=1, failed=1) if source is None else count_source(source)


_DIGEST_BITS = 128


def digest(ids: Iterable[str], start: int = 0) -> int:
    """A sum over message ids that does not depend on their order, on top of ``start``.

    It tells, in constant space, that the same ids were added, each as often (128 bits of SHA-256
    each, added modulo 2**128).
    """
    total = start
    for name in ids:
        total += int.from_bytes(hashlib.sha256(name.encode()).digest()[: _DIGEST_BITS // 8], "big")
    return total % (1 << _DIGEST_BITS)
