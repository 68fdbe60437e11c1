"""Runs the contenders in turn, round after round; each turn is a fresh server."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.flushes import countable
from bench.peers.model import Contender, Measured, Peer, Row, Settings
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.turn import turn


@dataclass
class Results:
    """What a run gave.

    Attributes:
        contenders: who was measured, ours first.
        versions: of each peer by name.
        values: what each turn gave by row's and contender's name.
        errors: what went wrong by row's and contender's name; such a row has no result.
        missing: why a peer could not be measured at all, by its name.
        device: whose flushes were counted; None where they cannot be.
    """

    contenders: list[Contender] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    values: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    device: str | None = None


@contextmanager
def scratch_directory(base: Path, prefix: str) -> Iterator[Path]:
    """A directory under ``base`` that other users may pass through, removed afterwards."""
    base.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=base, prefix=prefix))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def install(
    peers: Sequence[Peer], ours: Peer | None, kit: Kit, results: Results, say: Callable[[str], None]
) -> dict[str, Place]:
    """Get all that can be had; each mode of those becomes a contender."""
    places = {}
    for peer in [*([ours] if ours else []), *peers]:
        try:
            place = peer.install(kit)
        except NotToBeHad as exc:
            results.missing[peer.name] = str(exc)
            say(f"{peer.name}: not measured: {exc}")
            continue
        places[peer.name] = place
        results.versions[peer.name] = place.version
        say(f"{peer.name}: {place.version}")
        results.contenders += [Contender(peer, mode, peer is ours) for mode in peer.modes]
    return places


def run(
    peers: Sequence[Peer],
    ours: Peer | None,
    rows: Sequence[Row],
    settings: Settings,
    kit: Kit,
    say: Callable[[str], None],
) -> Results:
    """Measure everybody. What fails is kept, not raised."""
    results = Results()
    with scratch_directory(settings.base, "sync-") as directory:
        results.device = countable(directory)
    places = install(peers, ours, kit, results, say)
    for number in range(1, settings.rounds + 1):
        for contender in results.contenders:
            left = [row for row in rows if (row.name, contender.name) not in results.errors]
            if left:
                say(f"round {number}: {contender.name}")
                place = places[contender.peer.name]
                _round(contender, place, left, settings, results, say)
    return results


def _round(
    contender: Contender,
    place: Place,
    rows: Sequence[Row],
    settings: Settings,
    results: Results,
    say: Callable[[str], None],
) -> None:
    """All rows of one contender once, on one server."""
    with scratch_directory(settings.base, "data-") as directory:
        data = directory / "server"
        data.mkdir()
        try:
            server = contender.peer.start(place, contender.mode, data)
        except Exception as exc:
            for row in rows:
                results.errors[row.name, contender.name] = _shown(exc)
            say(f"  {_shown(exc)}")
            return
        try:
            for row in rows:
                try:
                    measured = turn(
                        row, contender, place, server, directory, settings, results.device
                    )
                except Exception as exc:
                    results.errors[row.name, contender.name] = _shown(exc)
                    say(f"  {row.name}: {_shown(exc)}")
                    continue
                results.values.setdefault((row.name, contender.name), []).append(measured)
                say(f"  {row.name}: {measured.value:,.0f} {row.unit}")
        finally:
            server.stop()


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
