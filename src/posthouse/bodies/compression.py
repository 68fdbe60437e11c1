"""zstd, bounded: what comes out is never over the limit of a body.

The package ``zstandard`` is an extra, imported when a queue compresses or a compressed body comes.
"""

from __future__ import annotations

from typing import Any, Final

from posthouse.errors import BadArgument, BodyError
from posthouse.model import MAX_BODY_BYTES

ZSTD: Final = "zstd"
LEVEL: Final = 3
FROM_BYTES: Final = 256
"""Bodies under this size are left as they are."""

LABEL_BYTES: Final = 24
"""About what the header costs that tells of the compression: less gain than this is none."""

# They are not safe for threads, and costly to make: each is used by one caller at a time, and
# pop and append are atomic.
_compressors: Final[list[Any]] = []
_decompressors: Final[list[Any]] = []


def check_compression(compress: str | None) -> None:
    """Raise unless ``compress`` may be asked of a queue.

    Raises:
        BadArgument: it is not "zstd" or None, or the package is not installed.
    """
    if compress is None:
        return
    if compress != ZSTD:
        raise BadArgument(f"compress is {compress!r}; it must be 'zstd' or None")
    try:
        import zstandard  # noqa: F401
    except ImportError as error:
        raise BadArgument(
            "compress='zstd' needs the package zstandard: install posthouse[zstd]"
        ) from error


def compress(data: bytes) -> bytes:
    """The data as one zstd frame that tells its size."""
    import zstandard

    compressor = _compressors.pop() if _compressors else zstandard.ZstdCompressor(level=LEVEL)
    done: bytes = compressor.compress(data)
    _compressors.append(compressor)
    return done


def decompress(encoding: str, data: bytes) -> bytes:
    """The data of one frame.

    Raises:
        BodyError: the encoding is not known, the frame is damaged or cut off, or more than 16 MiB
            would come out. At most that much memory is taken, whatever the frame says.
    """
    if encoding.lower() != ZSTD:
        raise BodyError(f"the body's content-encoding is {encoding[:100]!r}, which is not known")
    try:
        import zstandard
    except ImportError as error:
        raise BodyError(
            "the body is compressed with zstd; install posthouse[zstd] to read it"
        ) from error
    try:
        # -1 or 2**64-1 where the frame does not tell; then the buffer given is the bound.
        size = zstandard.get_frame_parameters(data).content_size
        told = size not in (-1, zstandard.CONTENTSIZE_UNKNOWN)
        if told and size > MAX_BODY_BYTES:
            raise BodyError(
                f"the body decompresses to {size:,} bytes; the limit is {MAX_BODY_BYTES:,}"
            )
        decompressor = _decompressors.pop() if _decompressors else zstandard.ZstdDecompressor()
        done: bytes = decompressor.decompress(
            data, max_output_size=0 if told else MAX_BODY_BYTES, allow_extra_data=False
        )
        _decompressors.append(decompressor)
    except zstandard.ZstdError as error:
        raise BodyError(
            f"the body does not decompress to at most {MAX_BODY_BYTES:,} bytes: {error}"
        ) from error
    return done
