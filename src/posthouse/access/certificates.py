"""Names in a verified client certificate, as the users file writes them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

_KINDS: Final = {"DNS": "DNS", "URI": "URI", "email": "email", "IP Address": "IP"}


def certificate_names(certificate: Mapping[str, Any]) -> frozenset[str]:
    """``DNS:...``, ``URI:...``, ``email:...``, ``IP:...`` and ``CN:...`` of a certificate.

    ``certificate`` is what `ssl.SSLSocket.getpeercert` returns: only of one that was verified
    does it hold anything.
    """
    names = {
        f"{_KINDS[kind]}:{value}"
        for kind, value in certificate.get("subjectAltName", ())
        if kind in _KINDS
    }
    names.update(
        f"CN:{value}"
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    )
    return frozenset(names)


def certificate_ends_s(certificate: Mapping[str, Any]) -> float:
    """When the certificate runs out, seconds since the epoch; 0 where it does not say."""
    ends = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(ends) if isinstance(ends, str) else 0.0
