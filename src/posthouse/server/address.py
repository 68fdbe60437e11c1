"""Where a server listens: TCP, with TLS or without, and Unix sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Final

import msgspec

from posthouse.errors import BadArgument

DEFAULT_PORT: Final = 7333
_MOST_PATH_BYTES: Final = 100


class Address(msgspec.Struct, frozen=True):
    """A place to listen at: a host and a port, with TLS or without; or a Unix socket's path."""

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``tcp://HOST[:PORT]``, ``tls://...``, ``unix:PATH`` or ``unix://PATH`` as an address.

    Raises:
        BadArgument: it is written otherwise.
    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or "\0" in path:
            raise BadArgument(
                f"give the path of the socket, as in 'unix:/run/posthouse', not {text!r}"
            )
        if len(os.fsencode(path)) > _MOST_PATH_BYTES:
            raise BadArgument(
                f"a Unix socket's path has at most {_MOST_PATH_BYTES} bytes; {path!r} has "
                f"{len(os.fsencode(path))}"
            )
        return Address(path=path)
    scheme, found, rest = text.partition("://")
    if not found or scheme not in ("tcp", "tls"):
        raise BadArgument(
            f"listen at 'tcp://127.0.0.1:{DEFAULT_PORT}', 'tls://...' or 'unix:PATH', not {text!r}"
        )
    rest = rest.rstrip("/")
    host, colon, port = rest.rpartition(":")
    if not colon or rest.endswith("]"):
        host, port = rest, str(DEFAULT_PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise BadArgument(f"write '{scheme}://HOST:PORT', not {text!r}")
    return Address(host=host, port=int(port), tls=scheme == "tls")


def listen_unix(path: str) -> socket.socket:
    """A socket bound at ``path``, for its owner only; one that nobody listens at is replaced.

    Raises:
        BadArgument: somebody listens there, what is there is no socket, or none can be made.
    """
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        found = None  # what cannot be looked at cannot be made either: that is told below
    if found is not None:
        if not stat.S_ISSOCK(found.st_mode):
            raise BadArgument(f"{path} is there and is not a socket; give another path")
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(path)
            except (ConnectionRefusedError, FileNotFoundError):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
            except OSError as error:
                raise BadArgument(f"{path}: cannot tell who listens there: {error}") from error
            else:
                raise BadArgument(f"another server listens at {path}")
    bound = socket.socket(socket.AF_UNIX)
    try:
        # Permissions before the first client: a mode that is set after binding comes too late.
        before = os.umask(0o177)
        try:
            bound.bind(path)
        finally:
            os.umask(before)
    except BaseException as error:
        bound.close()
        if isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError)):
            raise BadArgument(
                f"cannot listen at {path}: {error.strerror}; its directory must be there, and "
                "yours to write to"
            ) from error
        raise
    return bound
