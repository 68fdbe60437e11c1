"""Bugs of the protocol, the server and the client's link."""

from __future__ import annotations

from typing import Final

from tests.lab.planted.detectors import by_pytest
from tests.lab.planted.plant import Bug, Command, Edit

WIRE: Final[Command] = ("-m", "tests.lab.fuzz", "--target", "requests", "--seed", "1")
LIVE: Final[Command] = ("-m", "tests.lab.fuzz", "--target", "live", "--seed", "1")
SERVER_KILLS: Final[Command] = (
    *("-m", "tests.lab.process.server_kills"),
    *("--seed", "1", "--count", "40"),
)

SERVING: Final[tuple[Bug, ...]] = (
    Bug(
        "a put that comes again after a restart is stored again",
        (
            Edit(
                "        for first, count, first_id in reversed(self._rows.get(producer, ())):\n",
                "        for first, count, first_id in ():\n",
            ),
        ),
        SERVER_KILLS,
    ),
    Bug(
        "what the log says of producers is forgotten on restart",
        (
            Edit(
                "            producer = hello.producer\n        name = ",
                "            pass\n        name = ",
            ),
        ),
        SERVER_KILLS,
    ),
    Bug(
        "what the log says of producers goes with its segment",
        (
            Edit(
                "            records.append(Accepted(producer, sequences, counts, numbers))\n",
                "            pass\n",
            ),
        ),
        by_pytest("tests/server/test_process.py", "-k", "segment_is_gone"),
    ),
    Bug(
        "a put is answered before its group is on disk",
        (
            Edit(
                "        if group is None:\n            self.reply(reply)\n            return\n"
                "        waiting = self._groups.get(group)\n",
                "        self.reply(reply)\n        return\n"
                "        waiting = self._groups.get(group)\n",
            ),
        ),
        SERVER_KILLS,
    ),
    Bug(
        "a request that comes again on a new connection is done again",
        (
            Edit(
                "        if number > self._highest:\n            if len(kept)",
                "        if True:\n            if len(kept)",
            ),
        ),
        by_pytest("tests/server/test_chaos.py", "-k", "through_resets"),
    ),
    Bug(
        "an answer is forgotten before the client has seen it",
        (
            Edit(
                "            kept.append(reply)\n            self.send(reply)\n",
                "            if self.line is None:\n                kept.append(reply)\n"
                "            self.send(reply)\n",
            ),
        ),
        by_pytest("tests/server/test_sessions.py", "-k", "until_it_is_seen"),
    ),
    Bug(
        "pushed messages cost no credit",
        (Edit("        self._messages -= len(tokens)\n", ""),),
        by_pytest("tests/server/test_server.py", "-k", "within_the_credit"),
    ),
    Bug(
        "pushed bytes cost no credit",
        (Edit("        self._bytes -= size\n", ""),),
        by_pytest("tests/server/test_sessions.py", "-k", "credit_of_bytes"),
    ),
    Bug(
        "a session that is over keeps its leases",
        (
            Edit(
                "        if release:\n            self.session.close()\n",
                "",
            ),
        ),
        by_pytest("tests/server/test_sessions.py", "-k", "goodbye_gives_back"),
    ),
    Bug(
        "what was on its way when a connection broke stays leased",
        (
            Edit(
                "            for message_id in ids:\n"
                "                member.port(queue.name).give_back(token, message_id)\n",
                "",
            ),
        ),
        by_pytest("tests/server/test_sessions.py", "-k", "on_its_way_goes_back"),
    ),
    Bug(
        "a frame of any length is let in",
        (
            Edit(
                "                if not 0 < size <= self.limit_bytes:\n",
                "                if not 0 < size <= 1 << 40:\n",
            ),
        ),
        by_pytest("tests/wire/test_connection.py"),
    ),
    Bug(
        "half a frame is forgotten when more comes",
        (
            Edit(
                "        self._have = left\n        if not left:\n",
                "        self._have = max(left - 1, 0)\n        if not left:\n",
            ),
        ),
        WIRE,
    ),
    Bug(
        "an ack with fewer tokens than messages surprises the server",
        (
            Edit(
                "    if not request.ids or len(request.tokens) != len(request.ids):\n",
                "    if not request.ids:\n",
            ),
        ),
        LIVE,
    ),
    Bug(
        "what goes back without its token breaks the connection with a traceback",
        (
            Edit(
                "    if len(request.tokens) != len(request.ids):\n        raise ProtocolError(",
                "    if len(request.tokens) > 1 << 40:\n        raise ProtocolError(",
            ),
        ),
        LIVE,
    ),
)
