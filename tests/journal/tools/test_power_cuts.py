"""Power cuts at every step of a backup, a restore and a repair, on the simulated disk."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from posthouse.errors import LogUnreadable
from posthouse.journal.tools.backup import backup_log
from posthouse.journal.tools.repair import repair_log
from posthouse.journal.tools.restore import restore_backup
from posthouse.testing.crashes import crash_states
from posthouse.testing.simdisk import Image, SimDisk
from tests.journal.logs import NOW_NS, open_records, small_options
from tests.journal.tools.made import make_log


def image_of(directory: Path) -> Image:
    """A log's files as they lie on the simulated disk."""
    names = [path.name for path in directory.iterdir() if not path.name.startswith("spare")]
    return {f"data/{name}": (directory / name).read_bytes() for name in names}


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image]:
    """A log earlier and later."""
    directory = tmp_path_factory.mktemp("states") / "log"
    asyncio.run(make_log(directory, puts=30, acked=7))
    earlier = image_of(directory)
    asyncio.run(make_log(directory, puts=90, acked=7))
    return earlier, image_of(directory)


def segments_in(image: Image, directory: str) -> dict[str, bytes]:
    prefix = f"{directory}/"
    return {
        path.removeprefix(prefix): data
        for path, data in image.items()
        if path.startswith(prefix) and path.endswith(".seg")
    }


def is_copy_of(copy: dict[str, bytes], image: Image) -> bool:
    """Whether these segments are the log's, each up to the end of its frames."""
    log = segments_in(image, "data")
    return copy.keys() == log.keys() and all(
        log[name].startswith(data)
        and not log[name][len(data) : len(data) + 4].startswith(b"\xf5PHF")
        for name, data in copy.items()
    )


def restored(image: Image) -> dict[str, bytes]:
    disk = SimDisk(dict(image))
    restore_backup(disk, "backup", "new")
    return segments_in(disk.image(), "new")


def test_a_power_cut_at_any_step_of_a_backup(states: tuple[Image, Image]) -> None:
    earlier, later = states
    disk = SimDisk(dict(earlier))
    backup_log(disk, "data", "backup", NOW_NS)
    first = {path: data for path, data in disk.image().items() if path.startswith("backup/")}
    assert is_copy_of(restored({**earlier, **first}), earlier)
    recorded = SimDisk({**later, **first}, record=True)
    backup_log(recorded, "data", "backup", NOW_NS + 1)
    rng, seen, tried = Random(1), set[bool](), 0
    for cut in recorded.cuts:
        for state in crash_states(cut, rng, tears=2, subsets=2):
            tried += 1
            copy = restored(state.image)
            old, new = is_copy_of(copy, earlier), is_copy_of(copy, later)
            assert old or new, (cut.what, state.label)
            seen.add(new)
            again = SimDisk(dict(state.image))
            backup_log(again, "data", "backup", NOW_NS + 2)
            assert is_copy_of(restored(again.image()), later), (cut.what, state.label)
    assert seen == {False, True}
    assert tried > 200


def test_a_power_cut_at_any_step_of_the_first_backup(states: tuple[Image, Image]) -> None:
    recorded = SimDisk(dict(states[0]), record=True)
    backup_log(recorded, "data", "backup", NOW_NS)
    rng, refused, whole = Random(2), 0, 0
    for cut in recorded.cuts:
        for state in crash_states(cut, rng, tears=2, subsets=2):
            try:
                assert is_copy_of(restored(state.image), states[0]), (cut.what, state.label)
                whole += 1
            except LogUnreadable:
                refused += 1
            again = SimDisk(dict(state.image))
            backup_log(again, "data", "backup", NOW_NS)
            assert is_copy_of(restored(again.image()), states[0]), (cut.what, state.label)
    assert refused
    assert whole


def test_a_power_cut_at_any_step_of_a_restore(states: tuple[Image, Image]) -> None:
    """What is left either opens as the whole log, or is refused; never as an empty log."""
    disk = SimDisk(dict(states[0]))
    backup_log(disk, "data", "backup", NOW_NS)
    recorded = SimDisk(disk.image(), record=True)
    restore_backup(recorded, "backup", "new")
    whole_or_refused(recorded, Random(3))


def test_a_power_cut_at_any_step_of_a_repair(states: tuple[Image, Image]) -> None:
    recorded = SimDisk(dict(states[1]), record=True)
    repair_log(recorded, "data", "new", NOW_NS, options=small_options())
    assert len(segments_in(recorded.image(), "new")) > 1
    whole_or_refused(recorded, Random(4))


def whole_or_refused(recorded: SimDisk, rng: Random) -> None:
    """After a power cut in the making of ``new``: it opens with all it should hold, or not."""
    _, expected = open_records(SimDisk(recorded.image()), small_options(), "new")
    refused, whole = 0, 0
    for cut in recorded.cuts:
        for state in crash_states(cut, rng, tears=2, subsets=2):
            if not any(path.startswith("new/") for path in state.image):
                continue
            left = SimDisk(dict(state.image))
            try:
                _, records = open_records(left, small_options(), "new")
            except LogUnreadable:
                refused += 1
                continue
            assert records == expected, (cut.what, state.label)
            whole += 1
    assert refused
    assert whole
