"""One crash state: open it, and say what is wrong with what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState
from posthouse.errors import PosthouseError
from posthouse.journal.log import Log, LogOptions, RecoveryReport, open_log
from posthouse.model import DEFAULT_MAX_BYTES_LOG, NANOSECONDS, QueuePolicy
from posthouse.testing.simdisk import SimDisk
from tests.lab.disk.bodies import NAME_LENGTH, named_in, story_name
from tests.lab.disk.facts import NEVER, Facts
from tests.lab.disk.look import IN_LINE, Found, contents
from tests.lab.disk.timeline import Kept, State, Timeline
from tests.lab.disk.twice import EVERY, copy_of, differences

DIRECTORY = "data"


@dataclass
class Expected:
    """What a crash at one moment may leave.

    Attributes:
        low: the facts whose effects must be there; high: those that may be.
        timeline: what the log says group by group.
        epoch: the highest that an opening returned.
        attempts_kept: the attempts ring is whole: only the process died.
        power_lost: an earlier crash may have taken a part of the ring.
    """

    low: Facts
    high: Facts
    timeline: Timeline
    epoch: int
    attempts_kept: bool = False
    power_lost: bool = False


@dataclass
class Opening:
    """What came of opening a disk."""

    problems: list[str] = field(default_factory=list)
    sequence: int = 0
    epoch: int = 0
    report: RecoveryReport | None = None
    found: dict[int, Found] = field(default_factory=dict)
    bindings: set[tuple[str, str, str]] = field(default_factory=set)


def options_for(base: LogOptions, salt: int) -> LogOptions:
    """The same options with salts that start elsewhere."""
    return replace(base, salt=salts(salt))


def salts(start: int):  # type: ignore[no-untyped-def]
    """Salts that differ, and are the same for the same start."""
    state = start * 2 + 1

    def draw() -> int:
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        return state

    return draw


def open_disk(
    disk: SimDisk, options: LogOptions, now_ns: int
) -> tuple[Opening, BrokerState | None, Log | None]:
    """Open the log with the core's replay; no engine, no loop."""
    opening = Opening()
    state = BrokerState(DEFAULT_MAX_BYTES_LOG)
    replay = Replay(state)
    try:
        log = open_log(DIRECTORY, disk, options, replay.apply, now_ns)
    except PosthouseError as error:
        opening.problems.append(f"refused: {type(error).__name__}: {error}")
        return opening, None, None
    replay.finish(now_ns)
    opening.sequence = log.next_sequence - 2
    opening.epoch = log.epoch
    opening.report = log.report
    return opening, state, log


def judge(disk: SimDisk, options: LogOptions, expected: Expected, now_ns: int) -> Opening:
    """Open ``disk`` and compare what is there with what must, and may, be."""
    other = copy_of(disk) if disk.count % EVERY == 0 else None
    opening, state, log = open_disk(disk, options, now_ns)
    if state is None or log is None:
        return opening
    log.abandon()
    problems = opening.problems
    if other is not None:
        problems += differences(other, options, now_ns, state, log)
    if opening.epoch <= expected.epoch:
        problems.append(f"epoch {opening.epoch} was given out before ({expected.epoch})")
    opening.found = contents(state, problems)
    said = expected.timeline.states.get(opening.sequence)
    if said is None:
        problems.append(f"recovered up to group {opening.sequence}, which was never written")
        return opening
    problems += compare(opening.found, said, expected, now_ns)
    problems += bounds(opening.found, said, expected)
    problems += dedup_problems(state, said, now_ns)
    problems += binding_problems(state, said, opening, expected)
    if not problems:
        problems += last_id_problems(log, said)
        if not log.report.clean and log.report.truncated_at is None:
            problems.append("not closed cleanly, and the report does not say where it was cut")
    return opening


def last_id_problems(log: Log, said: State) -> list[str]:
    """New ids must be above every id the log ever gave out."""
    if log.last_id < said.last_id:
        return [f"the log's last id {log.last_id} is below {said.last_id}, which was given out"]
    return []


def dedup_problems(state: BrokerState, said: State, now_ns: int) -> list[str]:
    """Problems where other dedup ids are known than the log tells of within their windows."""
    problems = []
    counts: dict[int, int] = {}
    for (number, dedup), message_id in said.dedups.items():
        name, policy = said.queues[number]
        young = message_id > now_ns - int(policy.dedup_window_s * NANOSECONDS)
        known = state.queues[number].dedup.find(dedup, now_ns)
        counts[number] = counts.get(number, 0) + young
        if known != (message_id if young else 0):
            problems.append(f"dedup id {dedup!r} of {name} gives {known}; the log: {message_id}")
    for number, queue in state.queues.items():
        if len(queue.dedup) > counts.get(number, 0):
            problems.append(f"queue {queue.name} knows dedup ids that the log does not tell of")
    return problems


def binding_problems(
    state: BrokerState, said: State, opening: Opening, expected: Expected
) -> list[str]:
    """Problems where other queues are bound than the log says, or than was acknowledged."""
    found = set(state.router.bindings())
    if found != said.bindings:
        return [f"bound is {sorted(found)}; the log says {sorted(said.bindings)}"]
    names = {(topic, said.queues[number][0], pattern) for topic, number, pattern in found}
    opening.bindings = names
    if expected.low is not expected.high:
        return []  # what of it is lost with the power nobody promised
    maybe = expected.high.bindings
    problems = [f"unexpected: {name} is bound" for name in names if True not in maybe.get(name, ())]
    problems += [
        f"lost: {name} was bound"
        for name in maybe
        if name not in names and False not in maybe[name]
    ]
    return problems


def compare(found: dict[int, Found], said: State, expected: Expected, now_ns: int) -> list[str]:
    """Problems where the broker does not hold exactly what the log says after that group."""
    problems = []
    if found.keys() != said.messages.keys():
        for number in said.messages.keys() - found.keys():
            kept = said.messages[number]
            name, policy = said.queues[kept.queue]
            if policy.dead_letter is not None or not exhausted(kept, name, policy, expected):
                problems.append(f"lost: {kept.body[:8]!r}, though its group is there")
        for number in found.keys() - said.messages.keys():
            problems.append(f"unexpected: {found[number].kept.body[:8]!r} is not in the log")
        if problems:
            return problems
    for number, (queue, kept) in found.items():
        told = said.messages[number]
        if kept == told:
            continue
        name, policy = said.queues[told.queue]
        what = f"{kept.body[:8]!r} in {queue}"
        if kept[1:4] != told[1:4]:
            problems.append(f"{what} is not what was put")
            continue
        if kept.queue != told.queue:
            dead = name + ".dead" if policy.dead_letter == "" else policy.dead_letter
            if queue != dead or not kept.death or not exhausted(told, name, policy, expected):
                problems.append(f"{what} should be in {name}")
            continue
        if kept.attempts < told.attempts:
            problems.append(f"{what} has {kept.attempts} attempts; the log says {told.attempts}")
        if (kept.rank, kept.death) != (told.rank, told.death):
            problems.append(f"{what} has another place in the order, or another death")
        mine = (kept.key, kept.priority, kept.expires_ns)
        if mine != (told.key, told.priority, told.expires_ns):
            problems.append(f"{what} has another key, priority or time to live: {mine}; {told}")
        due_ns = told.due_ns if told.due_ns > now_ns else 0
        if kept.due_ns == IN_LINE:
            continue
        if kept.due_ns != due_ns and not (kept.due_ns == 0 and kept.attempts > told.attempts):
            problems.append(f"{what} is due at {kept.due_ns}; the log says {told.due_ns}")
    return problems


def exhausted(kept: Kept, queue: str, policy: QueuePolicy, expected: Expected) -> bool:
    """Whether the message may have had its last attempt there, so that opening buries it."""
    name = named_in(kept.body[:NAME_LENGTH].decode(), queue)
    most = expected.high.most_attempts(name, queue)
    return max(most, kept.attempts) >= policy.retry.max_attempts


def bounds(found: dict[int, Found], said: State, expected: Expected) -> list[str]:
    """Problems where less came back than was acknowledged, or more than was tried."""
    problems = []
    low, high = expected.low, expected.high
    names: set[str] = set()
    for item in found.values():
        try:
            names.add(story_name(item.kept.body, item.queue))
        except ValueError as error:
            problems.append(str(error))
    missing = [body for body in low.stored - names if not high.may_leave(body)]
    problems += [f"lost: {body} was acknowledged" for body in missing]
    problems += [f"came back: {body}, whose ack was durable" for body in low.gone & names]
    problems += [f"unexpected: {body}" for body in names - high.attempted.keys()]
    for puts, acks in high.wholes.values():
        if len(puts) + len(acks) < 2:
            continue
        here = [body for body in puts if body in names]
        undone = [b for b in puts if b not in names and not high.may_leave(b)]
        undone += [b for b in acks if b in names]
        if here and undone:
            problems.append(f"by halves: {here} of a batch or transaction, but not for {undone}")
    for number, (queue, kept) in found.items():
        # What opening itself buried begins anew.
        if number in said.messages and said.messages[number].queue == kept.queue:
            body = named_in(kept.body[:NAME_LENGTH].decode(), queue)
            problems += attempts_problems(body, queue, kept.attempts, expected)
    return problems


def attempts_problems(body: str, queue: str, attempts: int, expected: Expected) -> list[str]:
    """Problems with how often a message is said to have been delivered."""
    high = expected.high
    most = high.most_attempts(body, queue)
    if attempts > most:
        return [f"{body} in {queue} has {attempts} attempts, and was delivered {most} times there"]
    held = high.held.get(body)
    if expected.attempts_kept and held is not None and held.queue == queue:
        least = held.attempts - (1 if held.given_back or high.closing else 0)
        if held.moved:
            least = 0
        if attempts < least:
            return [f"{body} in {queue} has {attempts} attempts; it was delivered for no. {least}"]
    return []


__all__ = ["NEVER", "Expected", "Opening", "judge", "open_disk", "options_for"]
