"""What a seeded run works on: a simulated place for messages, its queues, and its history."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

from posthouse.backends import log, memory
from posthouse.backends.log import LogBackend
from posthouse.backends.memory import MemoryBackend
from posthouse.broker import Broker
from posthouse.core.letters import ORIGIN
from posthouse.message import Message
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.clock import START_NS
from posthouse.testing.crashes import crash_states
from posthouse.testing.history import History
from posthouse.testing.judging.policies import Order
from posthouse.testing.simdisk import SimDisk
from posthouse.testing.simloop import SimLoop
from posthouse.testing.simwriter import SimWriter
from tests.lab.topics import copy_name

Kind = Literal["memory", "log"]

DIRECTORY: Final = "data"
QUEUES: Final = ("a", "b")
MORE: Final[tuple[dict[str, Any], ...]] = (
    {"order": "lifo"},
    {"order": "priority"},
    {"order": "priority", "max_in_flight": 2},
    {"fair": True},
    {"fair": True, "max_in_flight_per_key": None},
    {"max_in_flight_per_key": 2},
    {"max_in_flight": 1},
    {"max_in_flight": 3, "rate": "5/s"},
    {"rate": "2/s"},
    {"rate_per_key": "5/s"},
    {"ttl": 0.02, "expired": "drop"},
    {"ttl": 0.05, "expired": "dead_letter"},
    {"ttl": 0.05, "max_in_flight": 1},
)
"""What a queue may have beyond the plain: one or two settings."""


class Killed(BaseException):
    """The process ended in the middle of a write."""


@dataclass
class Plan:
    """A queue's policy, drawn from the seed."""

    name: str
    lease_s: float
    retry: Retry
    dead: str | None
    max_messages: int | None
    overflow: Literal["wait", "reject", "drop_oldest"]
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def draw(cls, name: str, chance: random.Random) -> Plan:
        """One of many."""
        return cls(
            name,
            lease_s=chance.choice([0.02, 0.1, 0.5, 5.0]),
            retry=Retry(
                max_attempts=chance.choice([1, 2, 3, 5]),
                first_s=chance.choice([0.0, 0.01, 0.1]),
                most_s=0.3,
                jitter=chance.random() < 0.5,
            ),
            dead=chance.choice([f"{name}.dead", f"{name}.dead", "shared.dead", None, name]),
            max_messages=chance.choice([None, None, 3, 8]),
            overflow=chance.choice(["wait", "wait", "wait", "reject", "drop_oldest"]),
            more=dict(chance.choice(MORE)) if chance.random() < 0.4 else {},
        )

    @property
    def order(self) -> Order:
        """In which order what waits is delivered."""
        if "fair" in self.more:
            return "fair"
        order: Order = self.more.get("order", "fifo")
        return order

    @property
    def drops(self) -> bool:
        """Whether what waits may be dropped."""
        return self.overflow == "drop_oldest" or "ttl" in self.more

    def queue(self, broker: Broker) -> Queue[Any]:
        """A handle on it."""
        return broker.queue(
            self.name,
            visibility_timeout=self.lease_s,
            retry=self.retry,
            dead_letter=self.dead,
            max_messages=self.max_messages,
            overflow=self.overflow,
            **self.more,
        )


@dataclass
class World:
    """One run's messages, from life to life of the broker.

    Attributes:
        problems: what the run itself saw go wrong.
    """

    seed: int
    kind: Kind
    chance: random.Random = field(init=False)
    history: History = field(init=False)
    plans: dict[str, Plan] = field(init=False)
    disk: SimDisk = field(init=False)
    problems: list[str] = field(default_factory=list)
    loop: SimLoop = field(init=False)
    writer: SimWriter | None = None
    may_inline: bool = True
    bodies: int = 0
    dedups: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(f"{self.kind} {self.seed}")
        self.history = History(lambda: self.loop.now_ns())
        self.plans = {name: Plan.draw(name, self.chance) for name in QUEUES}
        self._options = self._draw_options()
        # With sync="commit" what is promised survives the machine, else the process only.
        self.lossy = self._options.get("sync") == "commit" and self.chance.random() < 0.5
        self.disk = SimDisk(record=self.lossy)
        self._now_ns = START_NS

    def _draw_options(self) -> dict[str, Any]:
        chance = self.chance
        if self.kind == "memory":
            return {}
        return {
            "segment_bytes": 65536,
            "ring_slots": chance.choice([16, 17, 64]),
            "group_operations": chance.choice([1, 2, 5, 10_000]),
            "pending_bytes": chance.choice([4096, 1 << 26]),
            "marker_idle_s": chance.choice([0.001, 0.01, 0.1]),
            "spares": chance.choice([0, 1, 2]),
            "sync": chance.choice(["commit", "commit", "interval", "os"]),
            "interval_s": 0.01,
            "salt": lambda: chance.getrandbits(64),
        }

    def dead_names(self) -> list[str]:
        """The dead-letter queues, sorted."""
        names = {plan.dead for plan in self.plans.values() if plan.dead is not None}
        return sorted(names - set(QUEUES))

    def new_loop(self) -> SimLoop:
        """The loop of the next life; the clock goes on, or it jumped while nobody looked."""
        chance = self.chance
        stalls = chance.random() < 0.2
        self.loop = SimLoop(
            chance.getrandbits(32),
            start_ns=self._now_ns,
            turn_s=chance.choice([0.0, 1e-5, 1e-3]),
            stall_s=2.0 if stalls else 0.0,
            stall_chance=0.01 if stalls else 0.0,
        )
        return self.loop

    def end_loop(self) -> None:
        """The life is over."""
        jump_ns = self.chance.choice([1, 1, 10**9, 3600 * 10**9])
        if jump_ns > 10**9:
            self.dedups.clear()  # longer than the window
        self._now_ns = self.loop.now_ns() + jump_ns
        self.loop.close()

    def open(self) -> Broker:
        """A broker for the next life, to be entered."""
        return Broker("simulated", self.backend())

    def backend(self) -> LogBackend | MemoryBackend:
        """Its backend, not started."""
        seams: dict[str, Any] = {"clock": self.loop, "chance": self.chance.random}
        if self.kind == "memory":
            return memory.connect("", seams)
        seams |= {"files": self.disk, "make_writer": self._make_writer}
        return log.connect(DIRECTORY, seams | self._options)

    def _make_writer(self, loop: object) -> SimWriter:
        chance = self.chance
        busy_s = chance.choice([0.0, 0.001, 0.02])
        inline = chance.random() < 0.5
        self.writer = SimWriter(
            self.loop, chance, busy_s=busy_s, late_s=busy_s / 2, inline=inline and self.may_inline
        )
        return self.writer

    def kill(self) -> Literal["kill", "crash"]:
        """The process ends now; with it, perhaps, the machine.

        The write under way may be there in part. What the disk shows after that is all that was
        written or, after a crash of the machine, all that was synced and any part of the rest.
        """
        if self.writer is not None:
            self.writer.crash(self._cut)
        self.writer = None
        if not self.lossy:
            self.disk = SimDisk(self.disk.image())
            return "kill"
        states = crash_states(self.disk.cut(), self.chance, tears=2)
        *_, state = islice(states, self.chance.randint(1, 12))
        self.disk = SimDisk(state.image, record=True)
        return "crash"

    def _cut(self, job: Callable[[], Any]) -> None:
        left = self.chance.choice([0, 1, 2, 3, 1000])

        def on_write(path: str, offset: int, data: bytes) -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                raise Killed

        if not left:
            return
        self.disk.on_write = on_write
        try:
            job()
        except (Killed, OSError):
            pass
        finally:
            self.disk.on_write = None

    def body(self, letter: str = "m") -> str:
        """A body that no other put has; now and then a large one."""
        self.bodies += 1
        padding = self.chance.choice([0, 0, 0, 0, 0, 100, 5000]) if self.kind == "log" else 0
        return f"{letter}{self.bodies}:" + "." * padding

    def verdict(self) -> list[str]:
        """What went wrong."""

        def given(setting: str) -> dict[str, Any]:
            plans = self.plans.values()
            return {plan.name: plan.more[setting] for plan in plans if setting in plan.more}

        return [
            *self.problems,
            *self.history.problems(
                max_attempts={p.name: p.retry.max_attempts for p in self.plans.values()},
                dead={plan.name: plan.dead for plan in self.plans.values()},
                max_in_flight=given("max_in_flight"),
                max_in_flight_per_key=given("max_in_flight_per_key"),
                rate=given("rate"),
                rate_per_key=given("rate_per_key"),
                order={plan.name: plan.order for plan in self.plans.values()},
                drops=[plan.name for plan in self.plans.values() if plan.drops],
            ),
        ]


def name_of(body: Any) -> str:
    """A body without its padding."""
    return str(body).partition(":")[0]


def message_name(message: Message[Any]) -> str:
    """The history's name for a message: of what was published, one for each queue."""
    queue = message.queue_name
    home = queue if queue in QUEUES else (message.headers or {}).get(ORIGIN, queue)
    return copy_name(name_of(message.body), home)
