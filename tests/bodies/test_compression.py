"""zstd: what comes out is what went in, and never over the limit."""

from __future__ import annotations

import builtins
import random
import threading
import tracemalloc
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from posthouse.bodies import BodyDecoder, BodyEncoder, content_type, encode_headers
from posthouse.bodies.compression import compress, decompress
from posthouse.errors import BadArgument, BodyError
from posthouse.model import KIND_BYTES, KIND_COMPRESSED, KIND_JSON, KIND_TEXT, MAX_BODY_BYTES

LABEL = encode_headers({"content-encoding": "zstd"})


def frame(data: bytes, *, tell_size: bool = True) -> bytes:
    writer = zstandard.ZstdCompressor(write_content_size=tell_size)
    if tell_size:
        return writer.compress(data)
    stream = writer.compressobj()
    return stream.compress(data) + stream.flush()


@given(st.binary(max_size=5000))
def test_round_trip(data: bytes) -> None:
    assert decompress("zstd", compress(data)) == data
    assert decompress("ZSTD", frame(data, tell_size=False)) == data


@pytest.mark.parametrize("tell_size", [True, False])
def test_a_bomb_takes_no_more_than_the_limit(tell_size: bool) -> None:
    bomb = frame(bytes(8 * MAX_BODY_BYTES), tell_size=tell_size)
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(BodyError, match="16,777,216"):
            decompress("zstd", bomb)
        assert tracemalloc.get_traced_memory()[1] < MAX_BODY_BYTES + 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("tell_size", [True, False])
def test_the_limit_itself_comes_out(tell_size: bool) -> None:
    assert decompress("zstd", frame(bytes(MAX_BODY_BYTES), tell_size=tell_size)) == bytes(
        MAX_BODY_BYTES
    )
    with pytest.raises(BodyError):
        decompress("zstd", frame(bytes(MAX_BODY_BYTES + 1), tell_size=tell_size))


@pytest.mark.parametrize("tell_size", [True, False])
def test_cut_off_anywhere(tell_size: bool) -> None:
    whole = frame(b"a line that repeats itself, " * 50 + bytes(range(256)), tell_size=tell_size)
    for length in range(len(whole)):
        with pytest.raises(BodyError):
            decompress("zstd", whole[:length])


def test_damaged_anywhere_it_is_refused_or_bounded() -> None:
    whole = frame(b"a line that repeats itself, " * 50 + bytes(range(256)))
    for at in range(len(whole)):
        for flip in (1, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[at] ^= flip
            try:
                assert len(decompress("zstd", bytes(damaged))) <= MAX_BODY_BYTES
            except BodyError:
                pass


@given(st.binary(max_size=300))
def test_what_is_no_frame(data: bytes) -> None:
    try:
        decompress("zstd", b"\x28\xb5\x2f\xfd" + data)
    except BodyError:
        pass
    if not data.startswith(b"\x28\xb5\x2f\xfd"):
        with pytest.raises(BodyError):
            decompress("zstd", b"?" + data)


def test_something_after_the_frame() -> None:
    with pytest.raises(BodyError):
        decompress("zstd", frame(b"abc") + b"more")
    with pytest.raises(BodyError):
        decompress("zstd", frame(b"abc") + frame(b"def"))


@pytest.mark.parametrize("headers", [{}, {"content-encoding": "gzip"}, {"content-encoding": ""}])
def test_an_encoding_that_is_not_known(headers: dict[str, str]) -> None:
    with pytest.raises(BodyError, match="content-encoding"):
        BodyDecoder().decode(KIND_JSON | KIND_COMPRESSED, frame(b"[1]"), encode_headers(headers))


def test_the_header_in_any_case() -> None:
    headers = encode_headers({"Content-Encoding": "Zstd"})
    assert BodyDecoder().decode(KIND_JSON | KIND_COMPRESSED, frame(b"[1]"), headers) == [1]


def test_what_comes_out_is_checked_like_any_body() -> None:
    with pytest.raises(BodyError):
        BodyDecoder().decode(KIND_JSON | KIND_COMPRESSED, frame(b"[NaN]"), LABEL)


def test_small_bodies_and_those_that_do_not_gain_stay_as_they_are() -> None:
    encoder = BodyEncoder(compress="zstd")
    assert encoder.encode(b"x" * 255) == (KIND_BYTES, b"x" * 255)
    noise = random.Random(1).randbytes(1000)
    assert encoder.encode(noise) == (KIND_BYTES, noise)
    kind, data = encoder.encode("x" * 1000)
    assert kind == KIND_TEXT | KIND_COMPRESSED
    assert len(data) < 100
    assert content_type(kind) == "text/plain; charset=utf-8"


def test_a_batch_is_compressed_as_a_whole_or_not_at_all() -> None:
    encoder = BodyEncoder(compress="zstd")
    kinds, datas = encoder.encode_many(["x" * 2000, b"y", {"a": 1}])
    assert kinds == [kind | KIND_COMPRESSED for kind in (KIND_TEXT, KIND_BYTES, KIND_JSON)]
    back = [BodyDecoder().decode(kind, data, LABEL) for kind, data in zip(kinds, datas)]
    assert back == ["x" * 2000, b"y", {"a": 1}]
    kinds, datas = encoder.encode_many(["x" * 300, *[b"y"] * 100])
    assert kinds == [KIND_TEXT, *[KIND_BYTES] * 100]
    assert datas[1] == b"y"


def test_from_many_threads_at_once() -> None:
    bodies = [bytes([i]) * 200_000 for i in range(4)]
    wrong: list[Any] = []

    def work(body: bytes) -> None:
        for _ in range(20):
            if decompress("zstd", compress(body)) != body:
                wrong.append(body[:1])

    threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadArgument, match=r"posthouse\[zstd\]"):
        BodyEncoder(compress="zstd")
    with pytest.raises(BodyError, match=r"posthouse\[zstd\]"):
        decompress("zstd", b"")
