"""Certificates for tests: an authority and what it signs, as files."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass
class Files:
    """A certificate's files."""

    cert: str
    key: str

    @property
    def options(self) -> dict[str, str]:
        """As a client's options."""
        return {"cert_file": self.cert, "key_file": self.key}


class Authority:
    """Signs, and writes what it signed into a directory."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._ca = trustme.CA()
        self._directory = directory
        self.file = str(directory / f"{name}.pem")
        self._ca.cert_pem.write_to_path(self.file)
        Path(self.file).chmod(0o644)

    def issue(
        self,
        *names: str,
        common_name: str | None = None,
        file: str = "server",
        expires_at: datetime.datetime | None = None,
    ) -> Files:
        """A certificate for these names; replaces the files that have this name."""
        made = self._ca.issue_cert(*names, common_name=common_name, not_after=expires_at)
        cert, key = self._directory / f"{file}.pem", self._directory / f"{file}.key"
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        cert.chmod(0o644)
        key.unlink(missing_ok=True)
        key.touch(mode=0o600)
        key.write_bytes(made.private_key_pem.bytes())
        return Files(str(cert), str(key))
