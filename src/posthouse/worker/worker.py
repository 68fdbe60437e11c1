"""The worker: tasks on queues, run until a signal, a stop, or a fault."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from posthouse.broker import DEFAULT_URL, Broker
from posthouse.broker import open as open_broker
from posthouse.errors import BadArgument
from posthouse.model import check_seconds
from posthouse.worker.consumer import Consumer
from posthouse.worker.run import Run
from posthouse.worker.signals import stop_signals
from posthouse.worker.task import Task, make_task

H = TypeVar("H", bound=Callable[..., Awaitable[object]])


class Worker:
    """Runs handlers on the messages of queues.

    Args:
        broker: a URL (opened by `run`, and closed by it) or an open broker (left open).
        drain_timeout: how long handlers may go on after the first signal or `stop`, seconds;
            then they are cancelled and their messages given back, attempt not counted.

    Raises:
        BadArgument: ``drain_timeout`` is negative or not a number.
    """

    def __init__(self, broker: str | Broker = DEFAULT_URL, *, drain_timeout: float = 30.0) -> None:
        check_seconds("drain_timeout", drain_timeout)
        self._source = broker
        self._drain_timeout_s = float(drain_timeout)
        self._tasks: dict[str, Task] = {}
        self._run: Run | None = None
        self._abandoned = 0

    @property
    def tasks(self) -> list[Task]:
        """The registered tasks, in order."""
        return list(self._tasks.values())

    def task(
        self,
        queue: str,
        *,
        concurrency: int = 10,
        timeout: float | None = None,
        visibility_timeout: float = 30.0,
        type: Any = None,  # noqa: A002
    ) -> Callable[[H], H]:
        """Register the decorated async function as the handler of a queue.

        The handler is called with the body; a parameter annotated `Message` gets the message.
        When it returns the message is acked; when it raises, the message is retried with the
        queue's backoff and in the end goes to the dead-letter queue with the error. A handler
        that settles the message itself (``tx.ack(message)``, say) is left at that.

        Args:
            queue: the queue's name; one handler for each.
            concurrency: handlers of this task running at once, at most (default 10).
            timeout: how long one attempt may take, seconds (default: no limit); longer is a
                failure.
            visibility_timeout: the lease, seconds (default 30), renewed while the handler runs.
            type: what bodies decode to (default: the annotation of the handler's first
                parameter). A body that does not decode is rejected at once.

        Raises:
            BadArgument: a bound outside what is allowed, a queue that has a handler already, or a
                function that cannot be one.
        """
        names = sys._getframe(1).f_locals

        def register(handler: H) -> H:
            if queue in self._tasks:
                raise BadArgument(
                    f"queue {queue!r} already has the handler {self._tasks[queue].name}"
                )
            self._tasks[queue] = make_task(
                handler,
                queue,
                concurrency=concurrency,
                timeout_s=timeout,
                visibility_timeout_s=visibility_timeout,
                body_type=type,
                names=names,
            )
            return handler

        return register

    def stop(self) -> None:
        """Do what a signal does: the first call drains, the second stops hard.

        Nothing happens when the worker is not running (yet): to end a run that may not have
        begun, cancel its task. To be called on the worker's loop.
        """
        if self._run is not None:
            self._run.stop()

    async def run(self) -> None:
        """Run the registered tasks until SIGTERM, SIGINT or `stop`, then drain and return.

        Returns too when every queue's handle was shut down. Cancelling it stops hard.

        Raises:
            BadArgument: no task is registered, or the worker is running already.
            PosthouseError: the broker failed; messages in hand were given back where it still
                could be done.
        """
        if self._run is not None:
            raise BadArgument("this worker is already running")
        if not self._tasks:
            raise BadArgument("this worker has no tasks; register one with @worker.task(queue)")
        self._run = run = Run(self._drain_timeout_s)
        try:
            # From here on a signal drains: one that came while the log is opened would otherwise
            # end the process in the middle of that.
            with stop_signals(run.stop) as restore:
                async with contextlib.AsyncExitStack() as stack:
                    broker = self._source
                    if isinstance(broker, str):
                        broker = await stack.enter_async_context(open_broker(broker))
                    await run.serve(
                        [
                            Consumer(task, broker.queue(task.queue, task.body_type))
                            for task in self._tasks.values()
                        ],
                        drained=restore,
                    )
        finally:
            self._abandoned = run.abandoned
            self._run = None

    def run_forever(self) -> None:
        """`run` on a loop of its own (uvloop's where it is installed), for a program's main.

        Raises:
            Whatever `run` raises.
        """
        runner = asyncio.Runner(loop_factory=_loop_factory())
        try:
            runner.run(self.run())
        finally:
            # A handler that ignores its cancellation would keep close() waiting for ever.
            if self._abandoned:
                runner.get_loop().close()
            else:
                runner.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
