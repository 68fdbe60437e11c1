"""Objects to bytes, as a queue's ``codec`` and ``compress`` have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from posthouse.bodies import registry
from posthouse.bodies.compression import FROM_BYTES, LABEL_BYTES, ZSTD, check_compression, compress
from posthouse.bodies.headers import CONTENT_ENCODING, CONTENT_TYPE, merge_labels
from posthouse.bodies.msgpack import pack_any
from posthouse.bodies.strictjson import write as write_json
from posthouse.errors import BadArgument, BodyError, MessageTooLarge
from posthouse.model import (
    KIND_BYTES,
    KIND_COMPRESSED,
    KIND_JSON,
    KIND_MSGPACK,
    KIND_NAMED,
    KIND_NAMES,
    KIND_TEXT,
    MAX_BODY_BYTES,
)

Encode = Callable[[object], tuple[int, bytes]]


class _Nothing(bytes):
    """A class of which nothing is made: no body is an instance of it."""


class BodyEncoder:
    """How a queue's bodies are written.

    Args:
        codec: None (str is text, bytes-like is bytes, everything else JSON), "json", "msgpack",
            "text", "bytes", or a registered codec's name or content type.
        compress: None or "zstd".

    Attributes:
        encode: a body to its kind and bytes. Raises BodyError (it cannot be written; the text
            says why) and MessageTooLarge (it is over 16 MiB, before compression too).
        as_is: instances of this class need no encoding: they are their bytes, of kind
            ``KIND_BYTES``. A queue asks this first, on its hottest path.

    Raises:
        BadArgument: a codec or compression that is not known, or whose package is missing.
    """

    __slots__ = ("_compressing", "_labels", "as_is", "encode")

    def __init__(self, codec: str | None = None, compress: str | None = None) -> None:
        check_compression(compress)
        self._labels: dict[str, str] = {}
        self.encode: Encode = self._find(codec)
        self.as_is: type[bytes] = bytes
        if compress is not None or self.encode not in (_by_type, _as_bytes):
            self.as_is = _Nothing
        self._compressing: Encode | None = None
        if compress is not None:
            self._compressing = self.encode
            self.encode = self._encode_compressed

    def encode_many(self, bodies: Iterable[object]) -> tuple[list[int], list[bytes]]:
        """A batch's kinds and bytes: all of them compressed, or none. Raises: as `encode`."""
        encode = self._compressing
        if encode is None:
            encoded = list(map(self.encode, bodies))
            return [kind for kind, _ in encoded], [data for _, data in encoded]
        encoded = list(map(encode, bodies))
        return _shrink([kind for kind, _ in encoded], [data for _, data in encoded])

    def label(self, kind: int, headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """A put's headers for a body of that kind, which for the rarer ones tell what it is.

        Raises:
            BadArgument: the put's headers say something else about the body.
        """
        labels = self._labels if kind & KIND_NAMED else {}
        if kind & KIND_COMPRESSED:
            labels = labels | {CONTENT_ENCODING: ZSTD}
        return merge_labels(headers, labels) if labels else headers

    def _find(self, codec: str | None) -> Encode:
        if codec is None:
            return _by_type
        found = registry.find(codec) if isinstance(codec, str) else None
        if found is None:
            raise BadArgument(
                f"there is no codec {codec!r}; there are {', '.join(registry.names())}, "
                "and what posthouse.bodies.register is given"
            )
        if isinstance(found, int):
            return _BUILT_IN[found]
        self._labels = {CONTENT_TYPE: found.content_type}
        return _with_codec(found)

    def _encode_compressed(self, body: object) -> tuple[int, bytes]:
        assert self._compressing is not None
        kind, data = self._compressing(body)
        kinds, datas = _shrink([kind], [data])
        return kinds[0], datas[0]


def _shrink(kinds: list[int], datas: list[bytes]) -> tuple[list[int], list[bytes]]:
    # A batch shares its headers, so it is compressed as a whole or not at all.
    size = sum(map(len, datas))
    if size < FROM_BYTES * len(datas):
        return kinds, datas
    small = list(map(compress, datas))
    if sum(map(len, small)) + LABEL_BYTES * len(small) >= size or max(map(len, small)) > (
        MAX_BODY_BYTES
    ):
        return kinds, datas
    return [kind | KIND_COMPRESSED for kind in kinds], small


def _by_type(body: object) -> tuple[int, bytes]:
    if body.__class__ is bytes:
        return _as_bytes(body)
    if isinstance(body, str):
        return _as_text(body)
    if isinstance(body, (bytes, bytearray, memoryview)):
        return _as_bytes(body)
    return _as_json(body)


def _as_json(body: object) -> tuple[int, bytes]:
    try:
        data = write_json(body)
    except MemoryError:
        raise  # not the body's fault
    except Exception as error:
        raise _cannot(body, KIND_NAMES[KIND_JSON], error) from error
    return KIND_JSON, data if len(data) <= MAX_BODY_BYTES else _checked(data)


def _as_msgpack(body: object) -> tuple[int, bytes]:
    try:
        data = pack_any(body)
    except MemoryError:
        raise  # not the body's fault
    except Exception as error:
        raise _cannot(body, KIND_NAMES[KIND_MSGPACK], error) from error
    return KIND_MSGPACK, _checked(data)


def _as_text(body: object) -> tuple[int, bytes]:
    if not isinstance(body, str):
        raise BodyError(f"the codec 'text' takes a str, not {type(body).__name__}")
    try:
        return KIND_TEXT, _checked(body.encode())
    except UnicodeEncodeError as error:
        raise BodyError(f"the text has a character that is not Unicode: {error}") from error


def _as_bytes(body: object) -> tuple[int, bytes]:
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise BodyError(f"the codec 'bytes' takes bytes, not {type(body).__name__}")
    return KIND_BYTES, _checked(body if body.__class__ is bytes else bytes(body))


_BUILT_IN: Final[dict[int, Encode]] = {
    KIND_JSON: _as_json,
    KIND_TEXT: _as_text,
    KIND_BYTES: _as_bytes,
    KIND_MSGPACK: _as_msgpack,
}


def _with_codec(codec: registry.Codec) -> Encode:
    what = codec.content_type

    def encode(body: object) -> tuple[int, bytes]:
        try:
            data: object = codec.encode(body)
        except MemoryError:
            raise
        except Exception as error:
            raise _cannot(body, what, error) from error
        if not isinstance(data, bytes):
            raise BodyError(f"the codec for {what} returned {type(data).__name__}, not bytes")
        return KIND_NAMED, _checked(data)

    return encode


def _cannot(body: object, what: str, error: Exception) -> BodyError:
    return BodyError(f"a body of type {type(body).__name__} cannot be written as {what}: {error}")


def _checked(data: bytes) -> bytes:
    if len(data) > MAX_BODY_BYTES:
        raise MessageTooLarge("the body", len(data), MAX_BODY_BYTES)
    return data


PLAIN: Final = BodyEncoder()
"""How bodies are written where nothing was said."""


def make_encoder(codec: str | None, compress: str | None) -> BodyEncoder:
    """An encoder; where nothing was said, the one that all such handles share.

    Raises:
        BadArgument: as `BodyEncoder`.
    """
    return PLAIN if codec is None and compress is None else BodyEncoder(codec, compress)
