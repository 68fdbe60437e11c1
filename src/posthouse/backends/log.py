"""``./data`` or ``log:./data``: every acknowledged message in a log in that directory."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from posthouse.backends.hosted import ENGINE_CAPABILITIES, Hosted
from posthouse.backends.registry import only_options
from posthouse.clock import Clock, SystemClock
from posthouse.core.pages import Page
from posthouse.core.rebuild import Rebuild
from posthouse.core.state import BrokerState
from posthouse.engine import Engine
from posthouse.errors import AlreadyOpen, BadArgument, PosthouseError, StorageFailed, UnknownOutcome
from posthouse.journal.files import Files, RealFiles
from posthouse.journal.holder import taken
from posthouse.journal.journal import LogJournal
from posthouse.journal.log import Log, LogOptions, open_log
from posthouse.journal.writer import ThreadWriter, Writer
from posthouse.model import DEFAULT_MAX_BYTES_LOG
from posthouse.paging import Pager
from posthouse.records import Entry
from posthouse.session.look import look_at

T = TypeVar("T")
logger = logging.getLogger("posthouse.log")

MakeWriter = Callable[[asyncio.AbstractEventLoop], Writer]


class LogBackend(Hosted):
    """An engine over a log directory, exclusive to this process."""

    capabilities = ENGINE_CAPABILITIES | {"durable"}

    def __init__(
        self,
        directory: str,
        log_options: LogOptions,
        *,
        clock: Clock | None = None,
        files: Files | None = None,
        make_writer: MakeWriter = ThreadWriter,
        chance: Callable[[], float] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        if log_options.sync != "commit":
            self.capabilities = ENGINE_CAPABILITIES
        self._directory = directory
        self._log_options = log_options
        self._clock = clock
        self._files = files or RealFiles()
        self._make_writer = make_writer
        self._chance = chance
        self._progress = progress

    async def start(self) -> None:
        """See `posthouse.backends.contract.Backend`.

        Raises:
            AlreadyOpen, LogDamaged, LogUnreadable, StorageFull, StorageFailed.
        """
        loop = asyncio.get_running_loop()
        clock = self._clock or SystemClock()
        state = BrokerState(DEFAULT_MAX_BYTES_LOG, look_at)
        rebuild = Rebuild(state)
        writer = self._make_writer(loop)
        opened: list[Log] = []
        opening: asyncio.Future[Any] = submit(
            loop,
            writer,
            lambda: self._open(rebuild, clock.now_ns(), opened),
        )
        try:
            log = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The disk may be busy for long, and this loop end before: the writer itself lets go
            # of the lock when the log is open, which is its next job.
            writer.submit(lambda: _abandon(opened), lambda result, error: None)
            writer.close(0.0)
            raise
        except AlreadyOpen as error:
            writer.close(5.0)
            raise taken(self._directory, error) from None
        except BaseException:
            writer.close(5.0)
            raise
        if not log.report.clean:
            logger.warning("recovered %s: %s", self._directory, log.report)
        engine: Engine | None = None

        def committed(group: Any) -> None:
            assert engine is not None
            engine.committed(group)

        def failed(error: Any) -> None:
            assert engine is not None
            engine.failed(error)

        journal = LogJournal(
            log,
            writer,
            call_soon=loop.call_soon,
            call_later=loop.call_later,
            on_commit=committed,
            on_failure=failed,
            snapshot=state.snapshot_attempts,
            carry=lambda first_id: state.carry(first_id, clock.now_ns()),
            now_ns=lambda: clock.now_ns() if engine is None else engine.now_ns(),
        )
        # Ids of segments that are gone may be higher than any that was replayed.
        state.numbers.last_id = max(state.numbers.last_id, log.last_id)
        chance = {} if self._chance is None else {"chance": self._chance}
        pager = Pager(state, journal, self._log_options.cache_bytes)
        engine = Engine(state, journal, clock, loop, epoch=log.epoch, pager=pager, **chance)
        engine.recovered(rebuild)
        try:
            # What recovery buried is seen in the dead letters when that is on disk: wait for it.
            await journal.flush()
        except BaseException as error:
            with contextlib.suppress(PosthouseError):
                await engine.close()
            if isinstance(error, UnknownOutcome):
                # Nothing that the program asked for is in doubt: the next opening does it again.
                raise StorageFailed(*error.args) from error
            raise
        self.host(engine)

    def _open(self, rebuild: Rebuild, now_ns: int, opened: list[Log]) -> Log:
        log = open_log(
            self._directory,
            self._files,
            self._log_options,
            rebuild.apply,
            now_ns,
            self._progress,
            rebuild,
        )

        def read(number: int, page: Page) -> list[Entry]:
            return log.reader.read(number, page.segment, page.runs())

        try:
            rebuild.materialise(read, now_ns)
        except BaseException as error:
            log.abandon()
            if isinstance(error, OSError):
                raise StorageFailed(f"{self._directory}: {error.strerror or error}") from error
            raise
        opened.append(log)
        return log


def _abandon(opened: list[Log]) -> None:
    for log in opened:
        log.abandon()


def submit(
    loop: asyncio.AbstractEventLoop, writer: Writer, job: Callable[[], T]
) -> asyncio.Future[T]:
    """Run a blocking job in the writer; a future for its answer."""
    future: asyncio.Future[T] = loop.create_future()

    def done(answer: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(answer)  # type: ignore[arg-type]

    writer.submit(job, done)
    return future


_ENGINE_OPTIONS = {"clock", "files", "make_writer", "chance", "progress"}
_LOG_OPTIONS = {field.name for field in dataclasses.fields(LogOptions)}


def connect(rest: str, options: Mapping[str, Any]) -> LogBackend:
    """The backend for a directory. Options: those of `LogOptions`, and the test seams.

    And ``progress(segments, of)``: how far an opening is; called in the thread that reads.
    """
    if not rest or "\0" in rest:
        raise BadArgument("give the directory of the log, as in './data' or 'log:./data'")
    only_options(options, _ENGINE_OPTIONS | _LOG_OPTIONS, "a log directory")
    log_options = LogOptions(**{k: v for k, v in options.items() if k in _LOG_OPTIONS})
    engine = {k: v for k, v in options.items() if k in _ENGINE_OPTIONS}
    return LogBackend(rest, log_options, **engine)
