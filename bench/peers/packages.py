"""Gets packages into a scratch directory, without touching the system or the virtualenv."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

INSTALL_TIMEOUT_S = 300.0


class NotToBeHad(Exception):
    """A peer cannot be measured here; the text says why."""


@dataclass(frozen=True)
class Place:
    """Where an installed peer is.

    Attributes:
        version: of its server and its client, for the reader.
        files: where its server's files are.
        python_path: what the workers need in front of ``sys.path`` to import its client.
    """

    version: str
    files: Path
    python_path: tuple[Path, ...] = ()


class Kit:
    """Installs into ``scratch``, a directory for each name."""

    def __init__(self, scratch: Path, say: Callable[[str], None]) -> None:
        self._scratch = scratch
        self._say = say

    def wheels(self, name: str, *requirements: str) -> tuple[Path, Mapping[str, str]]:
        """Install wheels into a directory of their own; it, and the version of each.

        Raises:
            NotToBeHad: pip says no.
        """
        target = self._scratch / name / "python"
        if not target.exists():
            self._say(f"{name}: installing {', '.join(requirements)}")
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
            quiet = ["install", "--quiet", "--only-binary", ":all:", "--target"]
            try:
                run_installer([*pip, *quiet, str(target), *requirements])
            except NotToBeHad:
                shutil.rmtree(target, ignore_errors=True)
                raise
        found = metadata.distributions(path=[str(target)])
        return target, {dist.metadata["Name"].lower(): dist.version for dist in found}

    def debs(self, name: str, *packages: str) -> tuple[Path, Mapping[str, str]]:
        """Unpack Debian packages, and what they need that is missing; the root, the versions.

        Nothing is installed on the system and no service is started.

        Raises:
            NotToBeHad: this is no Debian, or apt says no.
        """
        root = self._scratch / name / "root"
        archives = self._scratch / name / "archives"
        if not root.exists():
            if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
                raise NotToBeHad(f"{', '.join(packages)}: no apt-get and dpkg-deb here")
            self._say(f"{name}: fetching the Debian packages of {', '.join(packages)}")
            (archives / "partial").mkdir(parents=True, exist_ok=True)
            self._download(archives, packages)
            fresh = root.with_name("unpacking")
            shutil.rmtree(fresh, ignore_errors=True)
            for archive in sorted(archives.glob("*.deb")):
                run_installer(["dpkg-deb", "--extract", str(archive), str(fresh)])
            fresh.rename(root)
        versions = {}
        for archive in archives.glob("*.deb"):
            package, version, _machine = archive.stem.split("_")
            versions[package] = version.replace("%3a", ":")
        return root, versions

    def _download(self, archives: Path, packages: Sequence[str]) -> None:
        command = [
            *("apt-get", "install", "--yes", "--quiet", "--no-install-recommends"),
            *("--download-only", "--reinstall", "-o", f"Dir::Cache::archives={archives}"),
            *("-o", "Debug::NoLocking=1", *packages),
        ]
        try:
            run_installer(command)
        except NotToBeHad:
            if os.geteuid() != 0:
                raise
            # The lists may be missing or old.
            run_installer(["apt-get", "update", "--quiet"])
            run_installer(command)


def run_installer(command: Sequence[str]) -> None:
    """Run it to its end, quietly.

    Raises:
        NotToBeHad: it failed or took too long; with its last words.
    """
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise NotToBeHad(f"{command[0]}: {type(exc).__name__}") from exc
    if done.returncode:
        raise NotToBeHad(f"{Path(command[0]).name}: {_last_words(done.stderr or done.stdout)}")


def _last_words(text: str) -> str:
    """The last line that says something, without the address of whoever was asked."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = lines[-1] if lines else "failed and said nothing"
    return re.sub(r"https?://\S+", "(an address)", shown)[:200]
