"""Both faces have the same names, parameters, defaults and annotations, and say the same.

What is the loop's own (``async with`` for ``with``) is in `TWINS`; whatever differs otherwise has
to be listed here, with its reason.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

import posthouse
from posthouse import sync

NAMES = ["Broker", "Found", "Message", "Page", "Queue", "Receipt", "Topic", "Transaction"]

# What the asyncio face spells with a keyword of the language.
TWINS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__await__": None,  # there is a name instead, in ONLY_SYNC
}
# Parts that the asyncio face's modules use among themselves, and users do not.
INTERNAL = {
    "Queue": {"port", "encoder"},
    "Message": {"source", "entry", "decoded"},
    "Topic": {"steps"},
}
# `aio` is the asyncio handle; `page` and `wait` are what `await` is; the rest forwards.
ONLY_SYNC = {
    "Broker": {"aio"},
    "Found": {"aio", "page"},
    "Message": {"aio", "portal"},
    "Queue": {"aio"},
    "Receipt": {"aio", "wait"},
    "Topic": {"aio"},
    "Transaction": {"aio"},
}
# Made elsewhere than `__init__` for threads.
ATTRIBUTES = {
    "Broker": {"url", "capabilities"},
    "Queue": {"name"},
    "Topic": {"name"},
    "Transaction": {"ids"},
    "Message": {"attempts", "settled", "token"},
    "Page": {"cursor"},
    "Receipt": {"id"},
}


def public(cls: type) -> dict[str, Any]:
    """The class's own public names, and the special methods that are part of the face."""
    own = {
        name: value
        for base in reversed(
            [base for base in cls.__mro__ if base.__module__.startswith("posthouse")]
        )
        for name, value in vars(base).items()
    }
    return {
        name: value
        for name, value in own.items()
        if not name.startswith("_") or name in TWINS or name in TWINS.values()
    }


def methods(name: str) -> list[tuple[str, str]]:
    """(asyncio's name, threads' name) of the methods and properties of one class."""
    found = []
    for each in public(getattr(posthouse, name)):
        twin = TWINS.get(each, each)
        if twin is None or each in INTERNAL.get(name, ()) or each in ATTRIBUTES.get(name, ()):
            continue
        found.append((each, twin))
    return found


PAIRS = [
    pytest.param(name, mine, theirs, id=f"{name}.{mine}")
    for name in NAMES
    for mine, theirs in methods(name)
]


def function_of(member: Any) -> Callable[..., Any]:
    if isinstance(member, property):
        assert member.fget is not None
        return member.fget
    assert callable(member)
    return member  # type: ignore[no-any-return]


def shape(function: Callable[..., Any]) -> list[tuple[Any, ...]]:
    return [
        (parameter.name, parameter.kind, parameter.default, parameter.annotation)
        for parameter in inspect.signature(function).parameters.values()
    ]


def test_the_modules_export_the_same_classes() -> None:
    assert set(NAMES) | {"open", "wrap"} == set(sync.__all__)
    handles = {
        name
        for name, value in vars(posthouse).items()
        if inspect.isclass(value)
        and name in posthouse.__all__
        and value.__module__.split(".")[1]
        in {"broker", "found", "message", "queue", "receipt", "topic", "transaction"}
    }
    assert handles == set(NAMES)


def test_open_has_the_same_parameters() -> None:
    assert shape(sync.open) == shape(posthouse.open)
    assert "posthouse.open" in (sync.open.__doc__ or "")


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_in_one_face_only(name: str) -> None:
    threads = set(public(getattr(sync, name)))
    wanted = {twin for _, twin in methods(name)}
    allowed = wanted | ONLY_SYNC.get(name, set()) | ATTRIBUTES.get(name, set())
    assert wanted <= threads
    assert threads <= allowed


@pytest.mark.parametrize(("name", "mine", "theirs"), PAIRS)
def test_signatures_are_the_same(name: str, mine: str, theirs: str) -> None:
    one = public(getattr(posthouse, name))[mine]
    two = public(getattr(sync, name))[theirs]
    assert isinstance(one, property) == isinstance(two, property)
    one, two = function_of(one), function_of(two)
    assert shape(one) == shape(two)
    if mine == "__aiter__":
        return  # AsyncIterator there, Iterator here
    assert inspect.signature(one).return_annotation == inspect.signature(two).return_annotation
    assert not inspect.iscoroutinefunction(two)


@pytest.mark.parametrize(("name", "mine", "theirs"), PAIRS)
def test_docstrings_say_the_same_or_refer_to_it(name: str, mine: str, theirs: str) -> None:
    if mine.startswith("__"):
        return
    there = inspect.getdoc(function_of(public(getattr(posthouse, name))[mine])) or ""
    here = inspect.getdoc(function_of(public(getattr(sync, name))[theirs])) or ""
    assert there
    assert here
    assert f"`posthouse.{name}.{mine}`" in here or _said(there) in _said(here)


@pytest.mark.parametrize("name", NAMES)
def test_classes_say_what_they_are_twins_of(name: str) -> None:
    assert f"`posthouse.{name}`" in (inspect.getdoc(getattr(sync, name)) or "")


def test_a_drift_would_be_seen() -> None:
    def changed(self: Any, body: Any, *, timeout: float | None = 1.0, **options: Any) -> str:
        return ""

    assert shape(changed) != shape(posthouse.Queue.put)
    assert shape(sync.Queue.put) == shape(posthouse.Queue.put)


def _said(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
