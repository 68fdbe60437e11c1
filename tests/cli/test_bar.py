"""The bar of an opening that takes its time."""

from __future__ import annotations

import io

from rich.console import Console

from posthouse.cli.bar import opening_bar


def shown(*, terminal: bool, patience_s: float) -> str:
    screen = io.StringIO()
    # Whatever terminal the tests themselves run in: a bar moves in none that is "dumb".
    environment = {"TERM": "xterm"}
    console = Console(file=screen, force_terminal=terminal, width=80, _environ=environment)
    with opening_bar(console, patience_s) as progress:
        progress(3, 12)
    return screen.getvalue()


def test_an_opening_that_takes_long_shows_how_far_it_is() -> None:
    assert "3/12" in shown(terminal=True, patience_s=0.0)


def test_a_quick_one_shows_no_bar() -> None:
    assert "12" not in shown(terminal=True, patience_s=3600.0)


def test_nothing_is_shown_where_nobody_looks() -> None:
    assert shown(terminal=False, patience_s=0.0).strip() == ""
