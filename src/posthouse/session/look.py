"""A message as filters and indexes see it: decoded when a field asks for it, at most once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from posthouse.bodies import BodyDecoder, decode_headers
from posthouse.errors import BodyError
from posthouse.records import Entry

_DECODER: Final = BodyDecoder()


class Look:
    """A message as a filter sees it; one is used for many, one after the other."""

    __slots__ = ("_body", "_decoded", "_entry", "_headers", "attempts", "key", "number", "priority")

    def at(self, entry: Entry, attempts: int) -> None:
        """Look at this one from now on."""
        self._entry = entry
        self._decoded = False
        self._body: object = None
        self._headers: Mapping[str, str] | None = None
        self.number = entry[0]
        self.attempts = attempts
        traits = entry[4]
        self.key = "" if traits is None else traits.key
        self.priority = 0 if traits is None else traits.priority

    def headers(self) -> Mapping[str, str]:
        """The headers, a dead letter's own laid over them."""
        if self._headers is None:
            headers = decode_headers(self._entry[3])
            traits = self._entry[4]
            if traits is not None and traits.death:
                headers.update(decode_headers(traits.death))
            self._headers = headers
        return self._headers

    def body(self) -> object:
        """The body, decoded at the first look; None if that fails."""
        if not self._decoded:
            self._decoded = True
            entry = self._entry
            try:
                self._body = _DECODER.decode(entry[1], entry[2], entry[3])
            except BodyError:
                self._body = None
        return self._body


def look_at(entry: Entry) -> Look:
    """A look at one message, for indexes: they have nothing to do with attempts."""
    look = Look()
    look.at(entry, 0)
    return look
