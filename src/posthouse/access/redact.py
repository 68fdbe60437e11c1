"""URLs without their secrets: what may be shown, logged, raised and kept."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"

_SECRET_NAME: Final = (
    r"[\w.\-]*(?:pass|pwd|secret|token|credential|signature|api[_\-]?key|access[_\-]?key|auth)"
    r"[\w.\-]*"
)
_PARAMETER: Final = re.compile(rf"(?i)([?&;#]{_SECRET_NAME}=)[^&;#\s]*")
_SCHEME: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//")
_URL_IN_TEXT: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>]+")
_OUR_TOKEN: Final = re.compile(r"pht_[0-9a-f]{8}_[A-Za-z0-9_\-]+")


def redact_url(url: str) -> str:
    """The URL with ``***`` for the password in it, and for parameters that sound like secrets.

    Where it is unclear what is the password (it has an ``@`` or a ``/`` in it), more is hidden
    rather than less: all from the first colon after the user to the last ``@``. A URL without a
    secret comes back as it is.
    """
    shown = _PARAMETER.sub(rf"\1{HIDDEN}", url)
    scheme = _SCHEME.match(shown)
    start = scheme.end() if scheme is not None else 0
    at = shown.rfind("@")
    colon = shown.find(":", start, max(at, start))
    if colon >= 0:
        shown = shown[: colon + 1] + HIDDEN + shown[at:]
    return _OUR_TOKEN.sub(HIDDEN, shown)


def redact_text(text: str) -> str:
    """A text, of somebody else's error say, with its URLs redacted and our tokens hidden."""
    return _OUR_TOKEN.sub(HIDDEN, _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text))
