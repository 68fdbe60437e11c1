"""One attempt: a handler run on one message, and what becomes of the message after it.

handler returned            ack
handler raised, timed out   nack with backoff, and after the last attempt the dead letters
body does not decode        reject: trying again cannot help
attempt cancelled           given back at once, not counted
lease lost                  nothing: the message is no longer ours to settle
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from posthouse.errors import LeaseExpired
from posthouse.message import Message
from posthouse.worker.task import Task

log: Final = logging.getLogger("posthouse.worker")


class HandlerCancelled(RuntimeError):
    """A handler let a cancellation out that nobody had asked of it: a failure like any other."""


async def attempt(task: Task, message: Message[Any]) -> None:
    """Run the handler on the message and settle it.

    Failures of the handler are logged and end here; only what keeps the message from being
    settled (a broker that failed, say) is raised.
    """
    failure: BaseException | None = None
    try:
        async with message:
            try:
                await _run(task, message)
            except Exception as error:
                failure = error
                raise
    except LeaseExpired as error:
        if failure is None or failure is error:
            log.warning("task %s: message %s: %s", task.name, message.id, error)
            return
        _log_failure(task, message, failure)
    except Exception as error:
        if error is not failure:
            raise
        _log_failure(task, message, failure)


async def _run(task: Task, message: Message[Any]) -> None:
    try:
        if task.timeout_s is None:
            await task.call(message)
            return
        async with asyncio.timeout(task.timeout_s) as deadline:
            await task.call(message)
    except TimeoutError as error:
        if task.timeout_s is None or not deadline.expired():
            raise
        raise TimeoutError(f"the handler took longer than {task.timeout_s:g} s") from error
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        # Given back uncounted it would come again at once, for ever.
        raise HandlerCancelled("the handler was cancelled from inside") from error
    if deadline.expired():
        raise TimeoutError(f"the handler took longer than {task.timeout_s:g} s and ignored it")


def _log_failure(task: Task, message: Message[Any], failure: BaseException) -> None:
    log.warning(
        "task %s failed on message %s, attempt %d",
        task.name,
        message.id,
        message.attempts,
        exc_info=failure,
    )
