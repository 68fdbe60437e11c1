"""Bytes back to objects."""

from __future__ import annotations

from typing import Any

from posthouse.bodies import registry
from posthouse.bodies.compression import decompress
from posthouse.bodies.headers import CONTENT_ENCODING, CONTENT_TYPE, decode_headers, find_header
from posthouse.bodies.types import ANYTHING, readers
from posthouse.errors import BodyError
from posthouse.model import (
    KIND_BYTES,
    KIND_COMPRESSED,
    KIND_JSON,
    KIND_MSGPACK,
    KIND_NAMED,
    KIND_NAMES,
    KIND_TEXT,
)


class BodyDecoder:
    """Bytes back to objects, for one queue's type (None: whatever they are).

    Raises:
        BadArgument: bodies cannot be of that type.
    """

    __slots__ = ("_anything", "_convert", "_read_json", "_read_msgpack", "type")

    def __init__(self, body_type: Any = None) -> None:
        self.type = body_type
        found = readers(body_type)
        self._anything = found is ANYTHING
        self._read_json, self._read_msgpack, self._convert = found

    def decode(self, kind: int, data: bytes, headers: bytes = b"") -> Any:
        """The object.

        Args:
            kind: as in `posthouse.model`.
            data: the body as it is stored.
            headers: the message's, as they are stored; looked at for the rarer kinds only.

        Raises:
            BodyError: the bytes are not what the kind and the queue's type say.
        """
        if kind == KIND_BYTES and self._anything:
            return data
        if kind > KIND_MSGPACK:
            return self._decode_labelled(kind, data, headers)
        try:
            if kind == KIND_JSON:
                return self._read_json(data)
            if kind == KIND_TEXT:
                return self._convert(data.decode())
            if kind == KIND_MSGPACK:
                return self._read_msgpack(data)
            return self._convert(data)
        except MemoryError:
            raise  # not the body's fault
        except Exception as error:
            raise BodyError(f"the body does not decode as {KIND_NAMES[kind]}: {error}") from error

    def _decode_labelled(self, kind: int, data: bytes, headers: bytes) -> Any:
        if kind & ~(KIND_MSGPACK | KIND_COMPRESSED | KIND_NAMED):
            raise BodyError(f"the body is of kind {kind}, which this version does not know")
        labels = decode_headers(headers)
        if kind & KIND_COMPRESSED:
            data = decompress(find_header(labels, CONTENT_ENCODING), data)
        if not kind & KIND_NAMED:
            return self.decode(kind & KIND_MSGPACK, data)
        name = find_header(labels, CONTENT_TYPE)
        codec = registry.find(name.lower())
        if codec is None:
            raise BodyError(
                f"the body's content-type is {name[:200]!r}, which no codec is registered for; "
                "see posthouse.bodies.register"
            )
        if isinstance(codec, int):
            return self.decode(codec, data)
        try:
            return self._convert(codec.decode(data))
        except MemoryError:
            raise
        except Exception as error:
            raise BodyError(f"the body does not decode as {codec.content_type}: {error}") from error
