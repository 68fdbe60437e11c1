"""What every test shares: Hypothesis profiles and the choice of event loop."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Machines differ in speed, so no example has a deadline; pytest-timeout bounds the whole test.
settings.register_profile(
    "default",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("soak", settings.get_profile("default"), max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# A shell has its background jobs ignore Ctrl-C, and so would the programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL_DISK_KIB = 512

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _eager_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    return loop


def _loop_factory(name: str) -> LoopFactory:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    if name == "eager":
        if not hasattr(asyncio, "eager_task_factory"):
            raise pytest.UsageError("--loop eager needs Python 3.12 or newer")
        return _eager_loop
    return asyncio.new_event_loop


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--loop``."""
    parser.addoption(
        "--loop",
        choices=["asyncio", "uvloop", "eager"],
        default="asyncio",
        help="the event loop that async tests run on (eager: asyncio's, with eager tasks)",
    )


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, LoopFactory]:
    """Run every async test on the loop that ``--loop`` names."""
    name = config.getoption("--loop")
    return {name: _loop_factory(name)}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of `SMALL_DISK_KIB`; skips where none can be mounted."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_KIB}k", "tmpfs", str(mount)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(mount)], check=True)
