"""Headers, str to str: as bytes and back; and the two that say what a body is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from posthouse.errors import BadArgument, MessageTooLarge
from posthouse.model import KIND_COMPRESSED, KIND_NAMED, KIND_NAMES, MAX_HEADERS_BYTES

CONTENT_TYPE: Final = "content-type"
CONTENT_ENCODING: Final = "content-encoding"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, str])


def encode_headers(headers: Mapping[str, str] | None) -> bytes:
    """Headers as a msgpack map; b"" for none.

    Raises:
        BadArgument: a key or value is not a str.
        MessageTooLarge: they are over 64 KiB.
    """
    if headers is None:
        return b""
    if not isinstance(headers, Mapping):
        raise BadArgument(f"headers are a mapping of str to str, not {type(headers).__name__}")
    if not headers:
        return b""
    for key, value in headers.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise BadArgument(
                f"headers are str to str; {key!r} is {type(key).__name__} to {type(value).__name__}"
            )
    try:
        data = _encoder.encode(dict(headers))
    except UnicodeEncodeError as error:
        raise BadArgument(f"a header has a character that is not Unicode: {error}") from error
    if len(data) > MAX_HEADERS_BYTES:
        raise MessageTooLarge("the headers", len(data), MAX_HEADERS_BYTES)
    return data


def decode_headers(data: bytes) -> dict[str, str]:
    """The headers as a new dict."""
    return _decoder.decode(data) if data else {}


def find_header(headers: Mapping[str, str], name: str) -> str:
    """A header's value, its name in any case; "" if it is not there."""
    found = headers.get(name)
    if found is not None:
        return found
    return next((value for key, value in headers.items() if key.lower() == name), "")


def content_type(kind: int, headers: bytes = b"") -> str:
    """A body's content type as one writes it in HTTP; before compression, if there is any.

    Args:
        kind: as in `posthouse.model`.
        headers: as `encode_headers` made them; of use to bodies that name themselves there.
    """
    if kind & KIND_NAMED:
        return find_header(decode_headers(headers), CONTENT_TYPE) or "application/octet-stream"
    return KIND_NAMES.get(kind & ~KIND_COMPRESSED, "application/octet-stream")


def merge_labels(headers: Mapping[str, str] | None, labels: Mapping[str, str]) -> dict[str, str]:
    """A put's headers, and those that say what the body is.

    Raises:
        BadArgument: the put's headers say something else about the body.
    """
    if headers is None:
        return dict(labels)
    if not isinstance(headers, Mapping):
        raise BadArgument(f"headers are a mapping of str to str, not {type(headers).__name__}")
    for key, value in headers.items():
        label = labels.get(key.lower(), value) if isinstance(key, str) else value
        if label != value:
            raise BadArgument(
                f"the header {key!r} is {value!r}, but the queue writes bodies as {label!r}"
            )
    return {**headers, **labels}
