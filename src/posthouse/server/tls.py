"""The server's certificate: loaded, and loaded again while connections go on."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final

from posthouse.access.client import load_authorities, load_certificate
from posthouse.access.watch import LOOK_EVERY_S, FileWatch

HANDSHAKE_S: Final = 10.0
"""A deadline for `loop.create_server(ssl_handshake_timeout=)`."""

logger = logging.getLogger("posthouse.server")


class ServerCertificates:
    """A certificate with its key, and the authorities that client certificates are checked by.

    Hand `context` to every listener, once. Each handshake uses what was loaded last: connections
    that are there stay as they are, new ones see the new files.

    TLS is 1.2 or newer. No session is resumed: who lost his certificate does not come in on an old
    ticket.

    Args:
        cert_file: the chain, PEM, the server's own first.
        key_file: its key; None: it is in ``cert_file``.
        client_ca_file: authorities; given, a client must show a certificate that they signed
            (mutual TLS).

    Raises:
        AccessFileError: a file is missing, damaged or open to others, or they do not fit.
    """

    def __init__(
        self, cert_file: str, key_file: str | None = None, client_ca_file: str | None = None
    ) -> None:
        self._cert_file = cert_file
        self._key_file = key_file or cert_file
        self._client_ca_file = client_ca_file
        self.context = self._newest = self._load()
        self.context.sni_callback = self._choose

    @property
    def files(self) -> tuple[str, ...]:
        """What it was loaded from."""
        files = {self._cert_file, self._key_file, self._client_ca_file}
        return tuple(sorted(each for each in files if each is not None))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= (
            ssl.OP_NO_COMPRESSION
            | ssl.OP_NO_TICKET
            | ssl.OP_NO_RENEGOTIATION
            | ssl.OP_CIPHER_SERVER_PREFERENCE
        )
        context.num_tickets = 0
        load_certificate(context, self._cert_file, self._key_file)
        if self._client_ca_file is not None:
            load_authorities(context, self._client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _choose(
        self, handshake: ssl.SSLSocket | ssl.SSLObject, name: str | None, first: ssl.SSLContext
    ) -> None:
        # Called in every handshake, also of clients that name no server.
        handshake.context = self._newest

    def reload(self) -> None:
        """Load the files anew; blocks.

        Raises:
            AccessFileError: they cannot be used; what was loaded before stays in use.
        """
        self._newest = self._load()

    def watch(self, every_s: float = LOOK_EVERY_S) -> FileWatch:
        """What reloads when the files change, or on `FileWatch.now`."""

        async def reload() -> None:
            await asyncio.to_thread(self.reload)

        return FileWatch("the server's certificate", self.files, reload, every_s)
