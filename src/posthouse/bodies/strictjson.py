"""JSON, strictly: what is not JSON is neither read nor written.

What msgspec refuses by itself: NaN and Infinity in a text, numbers too large for a float, integers
of more than 4,300 digits (the interpreter's limit), nesting deeper than the interpreter's recursion
limit (1,000 less the calls that are open), what is not UTF-8, and anything after the end. Of a key
that is there twice the last one counts, as in Python's own ``json``.

What it lacks: it writes NaN and the infinities as null, and they would be gone.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import msgspec

from posthouse.bodies.models import to_plain
from posthouse.bodies.msgpack import pack_any

_encoder: Final = msgspec.json.Encoder(decimal_format="string", enc_hook=to_plain)
# In msgpack a float is 0xcb and its 8 bytes; the exponent of NaN and infinity is all ones.
_find_not_finite: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]").search

read_any: Final = msgspec.json.Decoder().decode


def write(body: object) -> bytes:
    """The body as JSON.

    Raises:
        ValueError, TypeError, RecursionError, ...: it cannot be written; the text says why.
    """
    data = _encoder.encode(body)
    # A search of the bytes costs much less than a look at the objects (and rfind half of find).
    if data.rfind(b"null") >= 0 and _has_not_finite(body):
        raise ValueError("NaN and the infinities are no JSON")
    return data


def _has_not_finite(body: object) -> bool:
    try:
        if not _find_not_finite(pack_any(body)):
            return False
    except OverflowError:
        pass  # integers of more than 64 bits: no msgpack
    # Those bytes may also be a part of a text: look at the values one by one.
    left: list[Any] = [msgspec.to_builtins(body, enc_hook=to_plain)]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, (list, tuple, set, frozenset)):
            left.extend(value)
        elif isinstance(value, float) and not math.isfinite(value):
            return True
    return False
