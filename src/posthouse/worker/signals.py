"""SIGTERM and SIGINT while a worker runs: the first drains, the second stops hard."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def stop_signals(on_signal: Callable[[str], None]) -> Iterator[Callable[[], None]]:
    """Call ``on_signal`` with the signal's name on the loop; put back what was there at the end.

    Yields a function that puts it back earlier (so that one more signal ends the process as if
    there were no worker). Does nothing outside the main thread, where Python has no signals.
    """
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, object] = {}

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            loop.remove_signal_handler(number)
            signal.signal(number, handler)  # type: ignore[arg-type]

    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            handler = signal.getsignal(number)
            try:
                loop.add_signal_handler(number, on_signal, number.name)
            except (NotImplementedError, RuntimeError, ValueError):
                continue
            # None: installed by somebody else than Python, who cannot be put back from here.
            before[number] = signal.SIG_DFL if handler is None else handler
    try:
        yield restore
    finally:
        restore()
