"""msgpack: smaller than JSON, with bytes, times and every float as they are."""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.bodies.models import to_plain

pack_any: Final = msgspec.msgpack.Encoder(decimal_format="string", enc_hook=to_plain).encode
read_any: Final = msgspec.msgpack.Decoder().decode
