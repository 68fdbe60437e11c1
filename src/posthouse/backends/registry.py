"""URL schemes to backends, imported only when asked for."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from posthouse.access.redact import redact_url
from posthouse.backends.contract import Backend
from posthouse.errors import BadArgument, Unsupported
from posthouse.model import CAPABILITIES

# scheme -> module under posthouse.backends with `connect(rest, options) -> Backend`
_SCHEMES: Final[dict[str, str]] = {
    "memory": "memory",
    "log": "log",
    "sqlite": "sqlite",
    "tcp": "remote.tcp",
    "tls": "remote.tls",
    "unix": "remote.unix",
    "shared": "remote.shared",
}
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.\-]+):(.*)", re.DOTALL)


def connect(url: str, require: Collection[str], options: Mapping[str, Any]) -> Backend:
    """The backend for a URL, not yet started.

    A URL without a scheme is a directory. Raises:
        BadArgument: the URL or an option is not understood.
        Unsupported: a capability in ``require`` is not among the backend's.
    """
    if not isinstance(url, str):
        raise BadArgument(f"the URL is a str, not {type(url).__name__}")
    unknown = set(require) - CAPABILITIES
    if unknown:
        raise BadArgument(
            f"{', '.join(sorted(unknown))} is not a capability; there are: "
            f"{', '.join(sorted(CAPABILITIES))}"
        )
    match = _SCHEME.fullmatch(url)
    scheme, rest = (match[1], match[2]) if match else ("log", url)
    if "share" in options:
        scheme, options = _shared(scheme, options)
    module = _SCHEMES.get(scheme)
    if module is None:
        raise BadArgument(
            f"no backend for {scheme!r} in {redact_url(url)!r}; there are: "
            f"{', '.join(sorted(_SCHEMES))}, and a plain path is a directory"
        )
    backend: Backend = importlib.import_module(f"posthouse.backends.{module}").connect(
        rest, options
    )
    missing = set(require) - backend.capabilities
    if missing:
        names = ", ".join(sorted(missing))
        raise Unsupported(f"{redact_url(url)!r} does not have: {names}")
    return backend


def whole_url(url: str, options: Mapping[str, Any]) -> str:
    """The URL that alone says where the messages live: opened again, it is the same place."""
    if options.get("share") is not True or url.startswith("shared:"):
        return url
    return f"shared:{url.removeprefix('log:')}"


def _shared(scheme: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The scheme with ``share`` taken into account, and the other options.

    Raises:
        BadArgument: ``share`` is no bool, or the URL is no directory's.
    """
    others = {name: value for name, value in options.items() if name != "share"}
    share = options["share"]
    if not isinstance(share, bool):
        raise BadArgument(f"share is True or False, not {share!r}")
    if scheme not in ("log", "shared"):
        raise BadArgument(f"share is an option of a directory; '{scheme}:' has none")
    if scheme == "shared" and not share:
        raise BadArgument("'shared:' and share=False contradict each other")
    return ("shared" if share else "log"), others


def only_options(options: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    """Refuse options that a backend does not know.

    Raises:
        BadArgument: one is not in ``allowed``.
    """
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        known = ", ".join(sorted(allowed)) or "none"
        raise BadArgument(f"{where} has no option {unknown[0]!r}; its options: {known}")
