"""multiprocessing (spawn) and concurrent.futures."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from posthouse import sync
from posthouse.errors import BadArgument, ForkedProcess
from tests.sync import work
from tests.sync.helpers import bodies

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def directory(tmp_path: Path) -> str:
    """A log with numbers to double."""
    url = str(tmp_path / "data")
    with sync.open(url) as broker:
        broker.queue("numbers").put_many(range(25))
    return url


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """One process, spawned."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as pool:
        yield pool


def doubled(url: str) -> list[int]:
    with sync.open(url) as broker:
        assert broker.queue("numbers").empty()
        return bodies(broker.queue("doubled", int).get_many())


def test_a_spawned_process_opens_the_url(directory: str) -> None:
    child = SPAWN.Process(target=work.double_all, args=(directory,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert doubled(directory) == [2 * number for number in range(25)]


def test_a_process_pool_takes_the_url(directory: str, pool: ProcessPoolExecutor) -> None:
    pid = pool.submit(work.double_all, directory).result(60)
    assert pid != os.getpid()
    assert doubled(directory) == [2 * number for number in range(25)]


def test_an_error_of_a_child_comes_back(directory: str, pool: ProcessPoolExecutor) -> None:
    with pytest.raises(BadArgument, match="visibility_timeout"):
        pool.submit(work.fail, directory).result(60)


def test_a_handle_is_refused_by_a_process_pool(
    queue: sync.Queue[Any], pool: ProcessPoolExecutor
) -> None:
    with pytest.raises(BadArgument, match=r"Queue of posthouse.sync .* open it in the child"):
        pool.submit(work.use, queue).result(60)


def test_a_handle_is_refused_by_a_spawned_process(queue: sync.Queue[Any]) -> None:
    child = SPAWN.Process(target=work.use, args=(queue,))
    with pytest.raises(BadArgument, match="open it in the child"):
        child.start()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_process_is_told_what_to_do(broker: sync.Broker) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    queue = broker.queue("q")

    def child() -> None:
        try:
            queue.put("a")
        except ForkedProcess as error:
            answers.put(str(error))

    process = context.Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert "'spawn'" in answers.get()
    queue.put("b")
    assert queue.get().body == "b"


def test_a_thread_pool_shares_a_queue(broker: sync.Broker) -> None:
    numbers, results = broker.queue("numbers", int), broker.queue("results", int)
    with ThreadPoolExecutor(4) as executor:
        ids = list(executor.map(numbers.put, range(40)))
        assert len(set(ids)) == 40

        def handle(_: int) -> None:
            with numbers.get() as message:
                results.put(message.body * message.body)

        list(executor.map(handle, range(40)))
    numbers.join()
    assert sorted(bodies(results.get_many())) == [number * number for number in range(40)]


def test_leaving_a_thread_pool_whose_workers_wait(url: str) -> None:
    # The broker is closed before the executor waits for its threads.
    with ThreadPoolExecutor(2) as executor, sync.open(url) as broker:
        queue = broker.queue("q")
        waiting = [executor.submit(queue.get) for _ in range(2)]
    for each in waiting:
        assert "closed" in str(each.exception(60))
