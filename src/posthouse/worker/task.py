"""What a task is: a handler, read once at registration, and the bounds it runs under.

A handler's signature says what it wants: its first parameter takes the body (decoded to the
annotated type), and a parameter annotated `Message` takes the message itself.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from posthouse.bodies import check_type
from posthouse.errors import BadArgument
from posthouse.message import Message
from posthouse.model import check_queue_name, check_seconds

Handler = Callable[..., Awaitable[object]]

MAX_CONCURRENCY: Final = 100_000


@dataclass(frozen=True, slots=True)
class Task:
    """A handler bound to a queue.

    Attributes:
        queue: the queue's name.
        name: the handler's qualified name, for logs.
        call: runs the handler on a message.
        body_type: what bodies are decoded to; None for plain values.
        concurrency: messages in hand at once, at most.
        timeout_s: how long one attempt may take, seconds; None for as long as it likes.
        visibility_timeout_s: the lease that is taken and renewed while the handler runs, seconds.
    """

    queue: str
    name: str
    call: Callable[[Message[Any]], Awaitable[object]]
    body_type: Any
    concurrency: int
    timeout_s: float | None
    visibility_timeout_s: float


def make_task(
    handler: Handler,
    queue: str,
    *,
    concurrency: int,
    timeout_s: float | None,
    visibility_timeout_s: float,
    body_type: Any,
    names: Mapping[str, Any],
) -> Task:
    """Read the handler's signature and check the bounds.

    ``names`` are the caller's local names, for annotations that only they resolve.

    Raises:
        BadArgument: a bound outside what is allowed, or a handler that cannot take a message.
    """
    check_queue_name(queue)
    if isinstance(concurrency, bool) or not isinstance(concurrency, int):
        raise BadArgument(f"concurrency is a whole number, not {type(concurrency).__name__}")
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise BadArgument(f"concurrency is {concurrency}; it must be from 1 to {MAX_CONCURRENCY}")
    if timeout_s is not None:
        check_seconds("timeout", timeout_s, least=0.001)
    check_seconds("visibility_timeout", visibility_timeout_s, least=0.05)
    wants = _read_signature(handler, names)
    if body_type is None:
        body_type = _decodable(wants.annotation, handler)
    return Task(
        queue=queue,
        name=_name(handler),
        call=wants.caller(handler),
        body_type=body_type,
        concurrency=concurrency,
        timeout_s=timeout_s,
        visibility_timeout_s=visibility_timeout_s,
    )


@dataclass(frozen=True, slots=True)
class _Wants:
    """Which parameters of a handler take the body and the message."""

    body: inspect.Parameter | None
    message: inspect.Parameter | None
    annotation: Any

    def caller(self, handler: Handler) -> Callable[[Message[Any]], Awaitable[object]]:
        """A function that hands a message to the handler in the shape it declared."""
        if self.message is None:
            return lambda message: handler(message.body)
        name = self.message.name
        by_name = self.message.kind is inspect.Parameter.KEYWORD_ONLY
        if self.body is None:
            return (lambda message: handler(**{name: message})) if by_name else handler
        if by_name:
            return lambda message: handler(message.body, **{name: message})
        return lambda message: handler(message.body, message)


def _read_signature(handler: Handler, names: Mapping[str, Any]) -> _Wants:
    if not _is_async(handler):
        raise BadArgument(
            f"{_name(handler)} is not an async function; write it with 'async def' "
            "(and blocking calls in it with asyncio.to_thread)"
        )
    hints = _hints(handler, names)
    body: inspect.Parameter | None = None
    message: inspect.Parameter | None = None
    for parameter in inspect.signature(handler).parameters.values():
        if _is_message(hints.get(parameter.name)) and message is None:
            message = parameter
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        elif body is None and message is None and parameter.kind is not parameter.KEYWORD_ONLY:
            body = parameter
        elif parameter.default is parameter.empty:
            raise BadArgument(
                f"{_name(handler)} asks for {parameter.name!r}; a handler takes the body first "
                "and then, if it likes, a parameter annotated Message"
            )
    if body is None and message is None:
        raise BadArgument(f"{_name(handler)} takes no message; give it a parameter for the body")
    annotation = hints.get(body.name) if body is not None else None
    return _Wants(body, message, annotation)


def _hints(handler: Handler, names: Mapping[str, Any]) -> dict[str, Any]:
    target = handler if inspect.isroutine(handler) else type(handler).__call__
    try:
        return typing.get_type_hints(target, localns=dict(names), include_extras=True)
    except (NameError, TypeError, AttributeError) as error:
        raise BadArgument(
            f"the annotations of {_name(handler)} cannot be read ({error}); "
            "define what they name before the handler"
        ) from error


def _decodable(annotation: Any, handler: Handler) -> Any:
    """The annotation as a body type, or None where it says nothing about the body."""
    if annotation is None or annotation is Any or annotation is object:
        return None
    try:
        check_type(annotation)
    except BadArgument as error:
        raise BadArgument(
            f"{_name(handler)} takes a body of type {annotation!r}, which cannot be decoded "
            f"({error}); annotate it with a type that msgspec or pydantic knows, or with Any"
        ) from error
    return annotation


def _is_message(annotation: Any) -> bool:
    return annotation is Message or typing.get_origin(annotation) is Message


def _is_async(handler: Handler) -> bool:
    if inspect.iscoroutinefunction(handler):
        return True
    return inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _name(handler: Handler) -> str:
    return str(getattr(handler, "__qualname__", type(handler).__qualname__))
