"""A live server, fed with damage and nonsense on real sockets."""

from __future__ import annotations

import pytest

from posthouse.server.connection import Connection
from posthouse.server.member import Member
from tests.lab.fuzz.live import run_live
from tests.lab.process.budget import LabLike


def test_live(lab: LabLike) -> None:
    live = run_live(lab.seed_base, lab.seconds("fuzz live"))
    lab.count("fuzz live", live.messages, "messages")
    # Deep and shallow alike: conversations to their end, and connections that were refused.
    assert live.answered
    assert live.refused


def test_the_target_notices_what_surprises_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def surprised(member: Member, name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(Member, "port", surprised)
    with pytest.raises(AssertionError, match=r"request \w+ failed(.|\n)*--target live --seed 7"):
        run_live(7, 60.0)


def test_the_target_notices_a_server_that_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.fuzz.live.PATIENCE_S", 1.0)
    monkeypatch.setattr(Connection, "buffer_updated", lambda self, nbytes: None)
    with pytest.raises(AssertionError, match="to replay: "):
        run_live(7, 60.0)
