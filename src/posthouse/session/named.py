"""Puts in the name of a producer outside, so that they can be recognised when they come again."""

from __future__ import annotations

from posthouse.engine import Engine
from posthouse.journal.group import Group
from posthouse.lane import Lane
from posthouse.records import Traits
from posthouse.session.port import Port


class named:  # noqa: N801  # it reads like a verb, and a generator costs three times as much
    """What is put in this block, with no await in it, is ``producer``'s, from ``sequence`` on."""

    __slots__ = ("_engine", "_own", "_producer", "_sequence")

    def __init__(self, engine: Engine, producer: int, sequence: int) -> None:
        self._engine = engine
        self._producer = producer
        self._sequence = sequence

    def __enter__(self) -> None:
        engine = self._engine
        self._own = engine.producer, engine.sequence
        engine.producer, engine.sequence = self._producer, self._sequence - 1

    def __exit__(self, *error: object) -> None:
        self._engine.producer, self._engine.sequence = self._own


class NamedPort(Port):
    """A port for one put that may have to wait for room."""

    def __init__(
        self, engine: Engine, lane: Lane, holder: int, producer: int, sequence: int
    ) -> None:
        super().__init__(engine, lane, holder)
        self._name = (producer, sequence)

    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> tuple[int, Group | None] | None:
        """As `Port.put_one`, and what is stored can be recognised."""
        engine = self._engine
        before = self._state.numbers.last_id
        with named(engine, *self._name):
            placed = super().put_one(kind, body, headers, traits)
        if placed is not None and placed[0] > before:
            engine.state.producers.note(*self._name, 1, placed[0])
        return placed

    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> tuple[int, Group | None] | None:
        """As `Port.put_many`, and what is stored can be recognised."""
        engine = self._engine
        with named(engine, *self._name):
            placed = super().put_many(kinds, bodies, headers, traits)
        if placed is not None:
            engine.state.producers.note(*self._name, len(bodies), placed[0])
        return placed
