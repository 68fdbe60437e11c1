"""Bodies and headers: objects to bytes and back. Pure.

Unless a queue says otherwise, str is text, bytes-like is bytes, and everything else is JSON
(msgspec). How a body was written travels with the message, as its kind and, for the rarer ways,
in its headers; so any handle reads it. Nothing is ever unpickled.

strictjson, msgpack     the two formats for objects
types                   what a queue's type makes of what was read; models: of pydantic
compression             zstd, bounded
registry                codecs by name and content type, the program's own among them
encoder, decoder        a queue's settings, put together
headers                 str to str, as a msgpack map
"""

from posthouse.bodies.decoder import BodyDecoder
from posthouse.bodies.encoder import PLAIN, BodyEncoder, make_encoder
from posthouse.bodies.headers import (
    CONTENT_ENCODING,
    CONTENT_TYPE,
    content_type,
    decode_headers,
    encode_headers,
)
from posthouse.bodies.registry import register
from posthouse.bodies.types import check_type

__all__ = [
    "CONTENT_ENCODING",
    "CONTENT_TYPE",
    "PLAIN",
    "BodyDecoder",
    "BodyEncoder",
    "check_type",
    "content_type",
    "decode_headers",
    "encode_headers",
    "make_encoder",
    "register",
]
