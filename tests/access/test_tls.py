"""TLS: certificates that are loaded anew, mutual TLS, and a client that believes nobody."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.access.certificates import certificate_ends_s, certificate_names
from posthouse.access.client import client_context
from posthouse.access.watch import FileWatch, signature
from posthouse.errors import AccessFileError, BadArgument
from posthouse.server.tls import ServerCertificates
from tests.access.certificates import Authority, Files
from tests.access.logs import hearing


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """A server that says what certificate its client has; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while await reader.readline():
                shown = writer.get_extra_info("peercert")
                writer.write(f"{sorted(certificate_names(shown or {}))}\n".encode())
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def call(
    port: int, context: ssl.SSLContext, name: str = "posthouse.example"
) -> tuple[str, dict[str, Any], str]:
    """(what the server saw of us, its certificate, the version of TLS)."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name
        )
        try:
            writer.write(b"who am I\n")
            line = await reader.readline()
            if not line:
                raise ConnectionResetError("closed without an answer")
            found = writer.get_extra_info("ssl_object")
            return line.decode().strip(), found.getpeercert(), found.version()
        finally:
            writer.close()


def serial(certificate: dict[str, Any]) -> str:
    return str(certificate["serialNumber"])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_client_and_a_server_meet_over_the_newest_tls(authority: Authority) -> None:
    files = authority.issue("posthouse.example")
    certificates = ServerCertificates(files.cert, files.key)
    async with serving(certificates.context) as port:
        seen, shown, version = await call(port, client_context({"ca_file": authority.file}))
    assert (seen, version) == ("[]", "TLSv1.3")
    assert certificate_names(shown) == {"DNS:posthouse.example"}


async def test_a_chain_and_key_may_be_one_private_file(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue("posthouse.example")
    both = tmp_path / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(Path(files.key).read_bytes() + Path(files.cert).read_bytes())
    async with serving(ServerCertificates(str(both)).context) as port:
        assert (await call(port, client_context({"ca_file": authority.file})))[0] == "[]"
    both.chmod(0o644)
    with pytest.raises(AccessFileError, match="the key is open to others"):
        ServerCertificates(str(both))


# ---------------------------------------------------------------- the client believes nobody


async def test_a_wrong_name_is_refused(authority: Authority) -> None:
    files = authority.issue("other.example")
    async with serving(ServerCertificates(files.cert, files.key).context) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await call(port, client_context({"ca_file": authority.file}))


async def test_an_unknown_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    files = Authority(tmp_path, "other").issue("posthouse.example")
    async with serving(ServerCertificates(files.cert, files.key).context) as port:
        for options in ({"ca_file": authority.file}, {}):  # {}: the system's list
            with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
                await call(port, client_context(options))


async def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    files = authority.issue("posthouse.example", expires_at=past)
    async with serving(ServerCertificates(files.cert, files.key).context) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
            await call(port, client_context({"ca_file": authority.file}))


@pytest.mark.parametrize("side", ["client", "server"])
async def test_old_versions_are_refused(authority: Authority, side: str) -> None:
    files = authority.issue("posthouse.example")
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if side == "client" else ssl.PROTOCOL_TLS_SERVER)
    old.set_ciphers("ALL:@SECLEVEL=0")  # so that it is we who refuse
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    if side == "client":
        old.load_verify_locations(authority.file)
        server, client = ServerCertificates(files.cert, files.key).context, old
    else:
        old.load_cert_chain(files.cert, files.key)
        server, client = old, client_context({"ca_file": authority.file})
    async with serving(server) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await call(port, client)


async def test_a_plain_server_is_not_talked_to(authority: Authority) -> None:
    async with serving(None) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await call(port, client_context({"ca_file": authority.file}))


async def test_a_plain_client_gets_nothing(authority: Authority) -> None:
    files = authority.issue("posthouse.example")
    async with serving(ServerCertificates(files.cert, files.key).context) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"who am I\n")
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionError):
                assert b"[" not in await reader.read()
        writer.close()


def test_a_context_of_ours_checks_always_and_writes_no_keys(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    files = authority.issue("posthouse.example")
    clients = [client_context({}), client_context({"ca_file": authority.file})]
    for context in clients:
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
    for context in (*clients, ServerCertificates(files.cert, files.key).context):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.keylog_filename is None
    assert not (tmp_path / "keys").exists()


# ---------------------------------------------------------------- mutual


async def test_a_client_certificate_is_seen_and_its_lack_refused(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue("posthouse.example")
    worker = authority.issue("worker-1.example", common_name="worker", file="worker")
    stranger = Authority(tmp_path, "other").issue("worker-1.example", file="stranger")
    expired = authority.issue(
        "worker-1.example",
        file="expired",
        expires_at=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC),
    )
    certificates = ServerCertificates(files.cert, files.key, authority.file)
    ca = {"ca_file": authority.file}
    async with serving(certificates.context) as port:
        seen, _, _ = await call(port, client_context({**ca, **worker.options}))
        assert seen == "['CN:worker', 'DNS:worker-1.example']"
        for options in ({}, stranger.options, expired.options):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await call(port, client_context({**ca, **options}))


async def test_an_authority_that_is_dropped_lets_nobody_in_any_more(
    authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue("posthouse.example")
    worker = authority.issue("worker-1.example", file="worker")
    other = Authority(tmp_path, "other")
    theirs = other.issue("worker-2.example", file="theirs")
    client_ca = tmp_path / "clients.pem"
    client_ca.write_bytes(Path(authority.file).read_bytes())
    client_ca.chmod(0o644)
    certificates = ServerCertificates(files.cert, files.key, str(client_ca))
    ca = {"ca_file": authority.file}
    ours, others = (client_context({**ca, **each.options}) for each in (worker, theirs))
    async with serving(certificates.context) as port:
        assert (await call(port, ours))[0] == "['DNS:worker-1.example']"
        client_ca.write_bytes(Path(other.file).read_bytes())
        certificates.reload()
        assert (await call(port, others))[0] == "['DNS:worker-2.example']"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await call(port, ours)


def test_a_certificates_names_and_end_are_read() -> None:
    shown = {
        "subject": ((("commonName", "ada"),),),
        "subjectAltName": (
            ("DNS", "a"),
            ("IP Address", "::1"),
            ("email", "a@b"),
            ("othername", "x"),
        ),
        "notAfter": "Jan 15 08:00:00 2027 GMT",
    }
    assert certificate_names(shown) == {"CN:ada", "DNS:a", "IP:::1", "email:a@b"}
    assert certificate_ends_s(shown) == 1_800_000_000
    assert (certificate_names({}), certificate_ends_s({})) == (frozenset(), 0.0)


# ---------------------------------------------------------------- reload


async def test_new_connections_get_the_new_certificate_and_old_ones_go_on(
    authority: Authority,
) -> None:
    files = authority.issue("posthouse.example")
    certificates = ServerCertificates(files.cert, files.key)
    client = client_context({"ca_file": authority.file})
    async with serving(certificates.context) as port:
        _, first, _ = await call(port, client)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname="posthouse.example"
        )
        authority.issue("posthouse.example")
        assert serial((await call(port, client))[1]) == serial(first)
        certificates.reload()
        second = (await call(port, client))[1]
        assert serial(second) != serial(first)
        writer.write(b"still there\n")
        async with asyncio.timeout(10):
            assert await reader.readline() == b"[]\n"
        writer.close()


BAD_FILES: dict[str, Callable[[Files], object]] = {
    "key gone": lambda f: Path(f.key).unlink(),
    "key open to others": lambda f: Path(f.key).chmod(0o644),
    "certificate cut off": lambda f: Path(f.cert).write_bytes(Path(f.cert).read_bytes()[:100]),
    "empty": lambda f: Path(f.cert).write_bytes(b""),
    "another's key": lambda f: Path(f.key).write_bytes(Path(f.key + ".other").read_bytes()),
}


@pytest.mark.parametrize("what", BAD_FILES)
async def test_a_bad_file_keeps_the_old_certificate_and_is_logged(
    authority: Authority, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.issue("posthouse.example")
    other = authority.issue("posthouse.example", file="other")
    os.rename(other.key, files.key + ".other")
    certificates = ServerCertificates(files.cert, files.key)
    client = client_context({"ca_file": authority.file})
    watch = certificates.watch(every_s=3_600)
    await watch.start()
    async with serving(certificates.context) as port:
        _, first, _ = await call(port, client)
        BAD_FILES[what](files)
        with pytest.raises(AccessFileError):
            certificates.reload()
        await reloaded(watch, caplog, "could not be reloaded, the old stays in use")
        assert serial((await call(port, client))[1]) == serial(first)
        authority.issue("posthouse.example")
        await reloaded(watch, caplog, "the server's certificate reloaded")
        assert serial((await call(port, client))[1]) != serial(first)
    await watch.close()
    with pytest.raises(AccessFileError):
        BAD_FILES[what](authority.issue("posthouse.example"))
        ServerCertificates(files.cert, files.key)


async def reloaded(watch: FileWatch, caplog: pytest.LogCaptureFixture, text: str) -> None:
    with hearing(text) as heard:
        watch.now()
        async with asyncio.timeout(10):
            await heard.wait()
    assert "BEGIN" not in caplog.text


async def test_a_changed_file_and_a_swapped_link_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "1").write_text("one")
    (tmp_path / "2").write_text("two")
    link = tmp_path / "file"
    link.symlink_to(tmp_path / "1")
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def reload() -> None:
        seen.put_nowait(link.read_text())

    watch = FileWatch("the file", [str(link), str(tmp_path / "none")], reload, every_s=0.01)
    await watch.start()
    async with asyncio.timeout(10):
        (tmp_path / "new").symlink_to(tmp_path / "2")
        os.replace(tmp_path / "new", link)
        assert await seen.get() == "two"
        (tmp_path / "2").write_text("two and more")
        assert await seen.get() in ("two and more", "")
        (tmp_path / "none").write_text("there now")
        assert "two" in await seen.get()
    await watch.close()
    assert signature([str(tmp_path / "gone")]) == (None,)


async def test_a_signal_reloads(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    called = asyncio.Event()

    async def reload() -> None:
        called.set()

    watch = FileWatch("the file", [str(tmp_path / "file")], reload, every_s=3_600)
    await watch.start()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, watch.now)
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            await called.wait()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        await watch.close()


def test_bad_client_files_are_told_by_name(authority: Authority, tmp_path: Path) -> None:
    files = authority.issue("worker", file="worker")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    nonsense.chmod(0o600)
    for options, name in (
        ({"ca_file": tmp_path / "none"}, "none"),
        ({"ca_file": nonsense}, "nonsense"),
        ({"cert_file": nonsense, "key_file": files.key}, "nonsense"),
        ({"cert_file": files.cert, "key_file": nonsense}, "nonsense"),
        ({"cert_file": files.cert}, "worker.pem"),  # no key in it, and it is public
    ):
        with pytest.raises(AccessFileError, match=name):
            client_context(options)
    with pytest.raises(BadArgument, match="give cert_file= too"):
        client_context({"key_file": files.key})


def test_an_encrypted_key_is_refused_and_nothing_is_asked(
    authority: Authority, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization as keys

    files = authority.issue("worker", file="worker")
    plain = keys.load_pem_private_key(Path(files.key).read_bytes(), None)
    Path(files.key).write_bytes(
        plain.private_bytes(
            keys.Encoding.PEM, keys.PrivateFormat.PKCS8, keys.BestAvailableEncryption(b"x")
        )
    )
    with pytest.raises(AccessFileError, match="the key is encrypted"):
        ServerCertificates(files.cert, files.key)
