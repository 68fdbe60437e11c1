"""What a put answers with: a receipt, or the ids of a batch."""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from typing import Any, overload

from posthouse.message import id_text


class Receipt:
    """What `Queue.put_nowait` returns: await it to know that the message is on disk.

    Attributes:
        id: the message's id, known at once.
    """

    __slots__ = ("_durable", "id")

    def __init__(self, message_id: str, durable: Awaitable[None] | None) -> None:
        self.id = message_id
        self._durable = durable

    def __await__(self) -> Generator[Any, None, str]:
        if self._durable is not None:
            yield from self._durable.__await__()
        return self.id


class Ids(Sequence[str]):
    """The ids of a batch, in order. Each text is made when it is asked for."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: range) -> None:
        self._numbers = numbers

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Ids: ...

    def __getitem__(self, index: int | slice) -> str | Ids:
        if isinstance(index, slice):
            return Ids(self._numbers[index])
        return id_text(self._numbers[index])

    def __len__(self) -> int:
        return len(self._numbers)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, (str, bytes)):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))
