"""Many processes that open one directory at once: forked, so that they begin together.

Run as ``python -m tests.shared.crowd DIRECTORY COUNT``: each process puts one message, sees to it
that the others' are there too, and leaves. Exits with the number of processes that failed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback

import posthouse


async def visit(directory: str, number: int, count: int) -> None:
    """One process's whole life."""
    async with posthouse.open(directory, share=True, linger_s=1.0) as broker:
        queue = broker.queue("crowd")
        await queue.put(number)
        async with asyncio.timeout(100):
            while (await queue.stats()).waiting < count:
                await asyncio.sleep(0.05)


def bear(directory: str, number: int, count: int, gate: int) -> None:
    """In the child: wait for the gate, then visit. Never returns."""
    code = 1
    try:
        os.read(gate, 1)
        asyncio.run(visit(directory, number, count))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(directory: str, count: int) -> int:
    """Fork them, open the gate, count those that failed."""
    gate, opener = os.pipe()
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            os.close(opener)
            bear(directory, number, count, gate)
        children.append(pid)
    os.close(opener)
    failed = 0
    for pid in children:
        _, status = os.waitpid(pid, 0)
        failed += os.waitstatus_to_exitcode(status) != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
