"""What a client needs to come in: who it is, its secret, and TLS that checks whom it talks to."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from posthouse.access.listen import check_may_say_secret
from posthouse.access.private import read_private, read_public
from posthouse.access.redact import redact_text, redact_url
from posthouse.access.secret import Secret, secret_from_environment, secret_from_file
from posthouse.errors import AccessFileError, BadArgument

LOGIN_OPTIONS: Final = frozenset(
    {"user", "password", "password_file", "token", "token_file", "certificate_login"}
)
TLS_OPTIONS: Final = frozenset({"ca_file", "cert_file", "key_file", "server_name"})
USER_VARIABLE: Final = "POSTHOUSE_USER"
MAX_PEM_BYTES: Final = 4 * 1024 * 1024

# The first that is given counts; the environment only where no option is.
_VARIABLES: Final = (
    ("token_file", "POSTHOUSE_TOKEN_FILE"),
    ("password_file", "POSTHOUSE_PASSWORD_FILE"),
    ("token", "POSTHOUSE_TOKEN"),
    ("password", "POSTHOUSE_PASSWORD"),
)


@dataclass(frozen=True, slots=True)
class Login:
    """What a client says of itself.

    Attributes:
        mechanism: "" (nothing), "password", "token" or "certificate".
        user: the user's name; "" where the certificate says it.
        secret: the password or token.
    """

    mechanism: str = ""
    user: str = ""
    secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """How a client comes in.

    Attributes:
        login: reads what it says of itself; may block for a file.
        context: TLS; None: in the clear.
        server_name: the name that the server's certificate must have; "": the host's.
    """

    login: Callable[[], Login] = Login
    context: ssl.SSLContext | None = None
    server_name: str = ""

    async def read(self) -> Login:
        """`login`, off the loop where it may block."""
        if self.login is Login:
            return Login()
        return await asyncio.to_thread(self.login)

    def name_at(self, host: str) -> str | None:
        """The name to ask for and to check; None without TLS."""
        return None if self.context is None else self.server_name or host


NOBODY: Final = Access()
"""In the clear, saying nothing of itself."""


def login_source(
    url: str,
    scheme: str,
    host: str,
    user: str,
    options: Mapping[str, Any],
    environ: Mapping[str, str] = os.environ,
) -> Callable[[], Login]:
    """Where the login comes from; asked anew for each connection, so a rotated file is seen.

    Args:
        url: what was opened, for errors; it is shown redacted.
        scheme: "tcp", "tls" or "unix".
        host: whom it connects to, without the port; "" for a socket file.
        user: the user that the URL names, or "".
        options: those of `LOGIN_OPTIONS` that were given. ``certificate_login``: the client
            certificate is the login.
        environ: the environment: POSTHOUSE_USER, and one of POSTHOUSE_TOKEN_FILE,
            POSTHOUSE_PASSWORD_FILE, POSTHOUSE_TOKEN, POSTHOUSE_PASSWORD, where no option says it.

    Raises:
        BadArgument: two secrets, or one without a user; or it would travel in the clear.
        AccessFileError: the secret's file cannot be used.
    """
    name = options.get("user") or user or environ.get(USER_VARIABLE, "")
    given = [key for key, _ in _VARIABLES if options.get(key) is not None]
    shown = redact_url(url)
    if options.get("certificate_login"):
        if given or scheme != "tls":
            raise BadArgument(f"{shown}: certificate_login needs tls:// and no other secret")
        return lambda: Login("certificate", name)
    if len(given) > 1:
        raise BadArgument(f"{shown}: give one of {' and '.join(given)}, not both")
    read = _from_option(given[0], options[given[0]]) if given else _from_environment(environ)
    if read is None:
        if name:
            variables = ", ".join(variable for _, variable in _VARIABLES)
            raise BadArgument(
                f"{shown}: user {redact_text(ascii(name))} has no password or token here; give "
                f"token_file=, password_file=, or set one of {variables}"
            )
        return Login
    mechanism, source = read
    if not name:
        raise BadArgument(f"{shown}: a {mechanism} needs a user: user=, or {USER_VARIABLE}")
    if host or scheme == "tcp":
        check_may_say_secret(scheme, host)
    source()  # what is wrong with it is said at once
    return lambda: Login(mechanism, name, source())


def _from_option(key: str, value: Any) -> tuple[str, Callable[[], Secret]]:
    mechanism = key.removesuffix("_file")
    if key.endswith("_file"):
        path = os.fspath(value)
        return mechanism, lambda: secret_from_file(path)
    secret = value if isinstance(value, Secret) else Secret(value)
    return mechanism, lambda: secret


def _from_environment(environ: Mapping[str, str]) -> tuple[str, Callable[[], Secret]] | None:
    for key, variable in _VARIABLES:
        if environ.get(variable):
            path = key.endswith("_file")
            value = environ[variable] if path else secret_from_environment(variable, environ)
            return _from_option(key, value)
    return None


def split_user(url: str, authority: str) -> tuple[str, str]:
    """The user and the rest of ``user@host:port``.

    Raises:
        BadArgument: there is a secret in it.
    """
    before, at, rest = authority.rpartition("@")
    if ":" in before:
        raise BadArgument(
            f"{redact_url(url)}: no secret is taken from a URL, for URLs are shown in lists of "
            "processes and in logs; use token_file=, password_file=, or the environment"
        )
    return (before, rest) if at else ("", authority)


def client_context(
    options: Mapping[str, Any], environ: Mapping[str, str] = os.environ
) -> ssl.SSLContext:
    """TLS 1.2 or newer that checks the server's certificate and its name, always.

    Args:
        options: those of `TLS_OPTIONS` that were given. ``ca_file``: whom to believe (default:
            the system's list). ``cert_file`` and ``key_file``: the client's own certificate.
        environ: the environment: POSTHOUSE_CA_FILE, POSTHOUSE_CERT_FILE, POSTHOUSE_KEY_FILE where
            no option says it.

    Raises:
        BadArgument: a key without a certificate.
        AccessFileError: a file is missing, damaged or open to others.
    """
    # Not create_default_context: that would write the session's keys where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION
    ca_file, cert_file, key_file = (
        environ.get(f"POSTHOUSE_{key.upper()}") if options.get(key) is None else options[key]
        for key in ("ca_file", "cert_file", "key_file")
    )
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        load_authorities(context, os.fspath(ca_file))
    if key_file is not None and cert_file is None:
        raise BadArgument("key_file= is the key of a certificate: give cert_file= too")
    if cert_file is not None:
        load_certificate(context, os.fspath(cert_file), os.fspath(key_file or cert_file))
    return context


def load_authorities(context: ssl.SSLContext, ca_file: str) -> None:
    """Believe certificates that these authorities signed. Raises AccessFileError."""
    data = read_public(ca_file, "the file of authorities", MAX_PEM_BYTES)
    try:
        context.load_verify_locations(cadata=data.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
        raise AccessFileError(ca_file, f"no certificates in PEM there: {_why(error)}") from None


def load_certificate(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Show this certificate chain, with its key. Raises AccessFileError."""
    read_public(cert_file, "the certificate", MAX_PEM_BYTES)
    read_private(key_file, "the key", MAX_PEM_BYTES)

    def refuse() -> str:
        # Else OpenSSL would ask for it on the terminal, and the server would hang there.
        raise AccessFileError(key_file, "the key is encrypted; give one without a passphrase")

    try:
        context.load_cert_chain(cert_file, key_file, password=refuse)
    except ssl.SSLError as error:
        raise AccessFileError(
            cert_file, f"the certificate and the key in {key_file} cannot be used: {_why(error)}"
        ) from None
    except OSError as error:
        raise AccessFileError(cert_file, f"it cannot be read: {error.strerror}") from None


def _why(error: Exception) -> str:
    return getattr(error, "reason", None) or str(error)
