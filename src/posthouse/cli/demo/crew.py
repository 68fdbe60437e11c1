"""The children of one run: all that they report goes to one place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from posthouse.cli.demo.events import AnyEvent, Finished, Job, Role
from posthouse.cli.demo.process import Child, write_job
from posthouse.cli.failures import CommandError


class Member:
    """One child: asked to leave by `stop`, killed by `kill`."""

    def __init__(self, role: Role) -> None:
        self.role = role
        self.task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._wish: Callable[[Child], None] | None = None

    def began(self, child: Child) -> None:
        """Its process runs."""
        self._child = child
        if self._wish is not None:
            self._wish(child)

    def kill(self) -> None:
        """Kill it with SIGKILL, now or as soon as it runs."""
        self._ask(Child.kill)

    def stop(self) -> None:
        """Ask it to leave, now or as soon as it runs."""
        self._ask(Child.stop)

    def _ask(self, wish: Callable[[Child], None]) -> None:
        self._wish = wish
        if self._child is not None:
            wish(self._child)


class Crew:
    """Starts children and sees each to its end. Leaving the context kills those that still run.

    Args:
        url: their broker.
        folder: where their jobs may be written.
        note: given every report.
    """

    def __init__(self, url: str, folder: Path, note: Callable[[AnyEvent], None]) -> None:
        self._url = url
        self._folder = folder
        self._note = note
        self._members: list[Member] = []
        self._stirred = asyncio.Event()

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *exc: object) -> None:
        tasks = [member.task for member in self._members if member.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def start(self, role: Role, files: list[str], end: int | None = None) -> Member:
        """Start a child."""
        path = self._folder / f"job-{len(self._members)}.json"
        write_job(path, Job(role, self._url, files, end))
        member = Member(role)
        member.task = asyncio.create_task(self._attend(member, path))
        member.task.add_done_callback(lambda task: self._stirred.set())
        self._members.append(member)
        return member

    async def _attend(self, member: Member, path: Path) -> None:
        finished = False
        async with Child(path) as child:
            member.began(child)
            # What it reported before it was killed is still in the pipe.
            async for event in child.events():
                finished = finished or isinstance(event, Finished)
                self._note(event)
                self._stirred.set()
            if not await child.ended_well(finished=finished):
                raise CommandError(await child.why_it_ended())

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until the reports say so.

        Raises:
            CommandError: a child ended in a way that it should not.
        """
        while not reached():
            self._stirred.clear()
            await self._stirred.wait()
            self._check()

    async def finished(self, *roles: Role) -> None:
        """Wait until all children with these parts have ended well.

        Raises:
            CommandError: a child ended in a way that it should not.
        """
        await self.until(
            lambda: all(
                member.task is not None and member.task.done()
                for member in self._members
                if member.role in roles
            )
        )
        self._check()

    def _check(self) -> None:
        for member in self._members:
            task = member.task
            if task is not None and task.done():
                with contextlib.suppress(asyncio.CancelledError):
                    task.result()
