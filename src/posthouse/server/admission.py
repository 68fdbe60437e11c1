"""Who may connect to a server: its users file and its certificates, each read anew when changed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import msgspec

from posthouse.access import hashing
from posthouse.access.file import read_users
from posthouse.access.gate import Gate
from posthouse.access.listen import check_listen
from posthouse.access.rights import Rights
from posthouse.access.secret import Secret
from posthouse.access.users import MAX_USER_BYTES
from posthouse.access.watch import LOOK_EVERY_S, FileWatch
from posthouse.errors import AuthenticationFailed, BadArgument
from posthouse.server.tls import ServerCertificates


class AccessFiles(msgspec.Struct, frozen=True):
    """The files that `Admission.open` reads."""

    users_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None

    async def open(self) -> Admission | None:
        """The admission that they make; None where there are none. Raises: as `Admission.open`."""
        if self == AccessFiles():
            return None
        return await Admission.open(
            self.users_file, self.cert_file, self.key_file, self.client_ca_file
        )


class Admission:
    """Users, certificates, or both, of one server. Make it with `open`.

    Attributes:
        certificates: what listeners with TLS show; None: there are none.
    """

    def __init__(
        self,
        gate: Gate | None,
        users_file: str | None,
        certificates: ServerCertificates | None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self.certificates = certificates
        self._gate = gate
        self._users_file = users_file
        self._watches: list[FileWatch] = []
        if users_file is not None:
            self._watches.append(
                FileWatch("the users file", [users_file], self._reload_users, look_every_s)
            )
        if certificates is not None:
            self._watches.append(certificates.watch(look_every_s))

    @classmethod
    async def open(
        cls,
        users_file: str | None = None,
        cert_file: str | None = None,
        key_file: str | None = None,
        client_ca_file: str | None = None,
        look_every_s: float = LOOK_EVERY_S,
    ) -> Admission:
        """Read all files, and begin to look whether they change.

        Args:
            users_file: who may come in; None: whoever can reach a listener may do everything.
            cert_file, key_file, client_ca_file: see `ServerCertificates`.
            look_every_s: how often to look at the files, seconds.

        Raises:
            AccessFileError: a file cannot be used.
            BadArgument: a key or an authority without a certificate.
            Unsupported: users, without the package that checks their hashes.
        """
        if cert_file is None and (key_file or client_ca_file):
            raise BadArgument("a key, or an authority for clients, needs the server's certificate")
        certificates = None
        if cert_file is not None:
            certificates = await asyncio.to_thread(
                ServerCertificates, cert_file, key_file, client_ca_file
            )
        gate = None
        if users_file is not None:
            hashing.load()
            gate = Gate(await asyncio.to_thread(read_users, users_file))
        made = cls(gate, users_file, certificates, look_every_s)
        for watch in made._watches:
            await watch.start()
        return made

    async def _reload_users(self) -> None:
        assert self._gate is not None
        assert self._users_file is not None
        self._gate.replace(await asyncio.to_thread(read_users, self._users_file))

    def reload(self) -> None:
        """Read all files anew, soon; for SIGHUP. What cannot be used is logged and not used."""
        for watch in self._watches:
            watch.now()

    def check_listen(self, host: str, *, tls: bool, unsafe: bool = False) -> ssl.SSLContext | None:
        """The context to listen there with; None: without TLS.

        Raises:
            BadArgument: there is no certificate; or the host is not loopback, and users or TLS are
                missing.
        """
        if tls and self.certificates is None:
            raise BadArgument("a tls:// address needs a certificate: --cert FILE --key FILE")
        check_listen(host, has_users=self._gate is not None, has_tls=tls, unsafe=unsafe)
        return self.certificates.context if tls and self.certificates is not None else None

    async def admit(
        self,
        mechanism: str,
        user: str,
        secret: str,
        *,
        peer: str,
        certificate: Mapping[str, Any] | None,
    ) -> Rights | None:
        """The rights of who comes; None: there are no users, and everybody may do everything.

        ``peer`` is an address without the port. Raises AuthenticationFailed. May be cancelled.
        """
        if self._gate is None:
            if mechanism:
                raise AuthenticationFailed(
                    "this server has no users: connect without a user, or start it with --users"
                )
            return None
        try:
            given = Secret(secret) if secret else None
        except BadArgument:
            given = None
        return await self._gate.admit(
            mechanism[:MAX_USER_BYTES],
            user if len(user) <= MAX_USER_BYTES else "?",
            given,
            peer=peer,
            certificate=certificate,
        )

    async def close(self) -> None:
        """Look at no file any more, and let nobody in."""
        for watch in self._watches:
            await watch.close()
        if self._gate is not None:
            self._gate.close()
