"""The judge of a history: what DESIGN.md promises, checked event by event.

Checked are Jepsen's total-queue (acknowledged <= recovered <= attempted) and what a lease-based
queue adds: fencing tokens, one holder at a time, order, attempts, the dead-letter limit, whole
transactions and batches, delays; and that nothing is said to be settled that comes back.
"""

from __future__ import annotations

from posthouse.testing.judging.bindings import BindingsJudge
from posthouse.testing.judging.board import Board, Under, after
from posthouse.testing.judging.deliveries import Deliveries
from posthouse.testing.judging.fate import Fate, Put
from posthouse.testing.judging.lives import Lives
from posthouse.testing.judging.policies import Policies
from posthouse.testing.judging.settlements import Settlements
from posthouse.testing.judging.wholeness import Whole, halves, lost
from posthouse.testing.trace import (
    Bindings,
    BindStarted,
    DelayStarted,
    Delivered,
    Ended,
    Event,
    Iterating,
    MoveStarted,
    PurgeStarted,
    PutStarted,
    RedriveStarted,
    Remaining,
    Restarted,
    SettleStarted,
    Taking,
    TransactionStarted,
)


class Judge:
    """Sees a history's events in order; `verdict` has the broken promises."""

    def __init__(self, policies: Policies) -> None:
        self._board = Board(policies)
        self._deliveries = Deliveries(self._board)
        self._settlements = Settlements(self._board)
        self._lives = Lives(self._board)
        self._bindings = BindingsJudge(self._board)

    def see(self, event: Event) -> None:
        """The next event."""
        board = self._board
        board.tick(event.at_ns)
        match event:
            case Delivered():
                self._deliveries.delivered(event)
            case Ended():
                self._ended(event)
            case PutStarted():
                self._put_started(event)
            case SettleStarted():
                self._settlements.started(event)
            case TransactionStarted():
                self._settlements.transaction_started(event)
            case PurgeStarted():
                self._purge_started(event)
            case RedriveStarted():
                self._redrive_started(event)
            case MoveStarted():
                self._move_started(event)
            case DelayStarted():
                self._delay_started(event)
            case BindStarted():
                self._bindings.started(event)
            case Bindings():
                self._bindings.looked(event)
            case Iterating():
                board.iterators[event.queue] = board.iterators.get(event.queue, 0) + event.change
            case Taking():
                board.takers[event.queue] = board.takers.get(event.queue, 0) + event.change
            case Restarted():
                self._lives.restarted(event)
                self._bindings.cut_off()
                self._deliveries.restarted()
            case Remaining():
                self._remaining(event)

    def verdict(self) -> list[str]:
        """Every broken promise, those of the end included."""
        board = self._board
        return [
            *board.problems,
            *(lost(fate) for fate in board.fates.values() if self._is_lost(fate)),
            *halves(board.whole.values(), board.fates, board.found),
        ]

    def _is_lost(self, fate: Fate) -> bool:
        if not fate.stored or fate.gone != "no":
            return False
        found = self._board.found
        places = set(fate.where) | ({fate.queue} if fate.held else set())
        if not places <= found.keys():
            return False  # nobody looked there
        return not any(fate.body in bodies for bodies in found.values())

    def _put_started(self, event: PutStarted) -> None:
        board = self._board
        board.start(event)
        board.whole[event.op] = Whole(event.op, [(event.queue, body) for body in event.bodies], [])
        due_ns = after(event.at_ns, event.delay_s)
        for body in event.bodies:
            if event.again and board.put_again(body):
                known = board.fates[body]
                other = (known.key, known.priority) != (event.key, event.priority)
                known.vague = known.vague or (other and known.put != "done")
                continue
            fate = board.new(event.queue, body, event.op, due_ns)
            fate.key = event.key
            fate.priority = event.priority
            if event.ttl_s is not None:
                fate.fleeting = True
                fate.may_be_gone(0)

    def _put_ended(
        self, puts: list[tuple[str, str]], event: Ended, ttl_s: float | None = None
    ) -> None:
        board = self._board
        ids = event.ids or [""] * len(puts)
        for (queue, body), message_id in zip(puts, ids, strict=True):
            fate = board.fates[body]
            fate.put = event.outcome if fate.puts == 1 else _put_more_than_once(fate, event)
            if fate.put == "failed" and fate.seen:
                board.say(f"{body!r} was delivered, but its put failed: {event.why}")
            if event.outcome != "done":
                continue
            if message_id:
                board.named(fate, message_id)
            if ttl_s is not None:
                fate.expires_ns = after(event.at_ns, ttl_s) or 0
            # A delay that was over before the put was accepted: a timer lets it be seen, soon.
            late = fate.due_ns is None or 0 < fate.due_ns <= (event.at_ns or 0)
            if fate.native and not fate.version:
                since, until = fate.arrival(queue)
                fate.arrived[queue] = (since, min(until, board.position))
            here = not fate.version and fate.gone == "no" and fate.native
            if here and not late:  # so it is not fleeting
                board.waits(queue, fate)

    def _purge_started(self, event: PurgeStarted) -> None:
        board = self._board
        started = board.start(event)
        if not board.iterators.get(event.queue):
            started.waiting = list(board.waiting.get(event.queue, {}).values())
        for fate in board.fates.values():
            if event.queue in fate.where and fate.gone in ("no", "maybe"):
                fate.may_be_gone(event.op)
                fate.acted_at = board.position
                started.versions[fate.id] = fate.version
        board.waiting.pop(event.queue, None)

    def _purge_ended(self, started: Under, event: PurgeStarted, end: Ended) -> None:
        if end.outcome == "done":
            for fate in started.waiting:
                if fate.version == started.versions.get(fate.id) and event.op in fate.causes:
                    fate.gone = "for ever"
        elif end.outcome == "failed":
            for fate in self._board.fates.values():
                fate.causes.discard(event.op)
                if fate.gone == "maybe" and not fate.causes:
                    fate.gone = "no"

    def _redrive_started(self, event: RedriveStarted) -> None:
        board = self._board
        started = board.start(event)
        started.waiting = self._letters(event.queue)
        started.versions = {fate.id: fate.version for fate in started.waiting}
        for fate in board.fates.values():
            dead = fate.fleeting and event.queue in board.policies.graves(fate)
            if event.queue == fate.home or not (dead or event.queue in fate.where):
                continue
            # It begins anew, with no attempts, no age and in another place.
            fate.native = False
            fate.expires_ns = 0
            fate.due_ns = None if fate.due_ns else fate.due_ns  # it may have died of old age
            fate.acted_at = board.position
            board.waits_not(fate)
            for origin in board.policies.origins(fate, event.queue):
                fate.may_be_in({origin: (1, 1)}, board.position)
                if board.policies.drops(origin):
                    # It grew old there, and is here again.
                    fate.may_be_in({event.queue: (1, 1)}, board.position)
                    fate.may_be_gone(0)

    def _letters(self, queue: str) -> list[Fate]:
        """What a redrive of all certainly puts back; none if something else may be there too.

        It puts back as many as wait when it begins, the first ones first: a message that is given
        back meanwhile would take the place of another.
        """
        board = self._board
        waiting = board.waiting.get(queue, {})
        for fate in board.fates.values():
            if queue in fate.where and fate.gone in ("no", "maybe") and fate.id not in waiting:
                return []
        letters = list(waiting.values())
        if any(fate.due_ns or fate.targets or fate.home == queue for fate in letters):
            return []
        return [fate for fate in letters if not board.policies.drops(fate.home)]

    def _redrive_ended(self, started: Under, event: RedriveStarted, end: Ended) -> None:
        board = self._board
        if end.outcome != "done" or started.life != board.life:
            return
        for fate in started.waiting:
            same = fate.version == started.versions[fate.id] and fate.gone == "no"
            if same and fate.acted_at == started.position and not fate.fleeting:
                board.moved(fate, fate.home, (started.position, board.position))
                fate.due_ns = 0
                board.waits(fate.home, fate)

    def _move_started(self, event: MoveStarted) -> None:
        board = self._board
        board.start(event)
        for fate in board.fates.values():
            if event.queue not in fate.where:
                continue
            # Nobody knows which of them the filter finds.
            board.waits_not(fate)
            fate.native = False
            fate.targets.add(event.target)
            fate.acted_at = board.position
            fate.may_be_in({event.target: (1, 1)}, board.position)
            if board.policies.drops(event.target):
                fate.fleeting = True
                fate.may_be_gone(0)

    def _delay_started(self, event: DelayStarted) -> None:
        board = self._board
        board.start(event)
        for fate in board.fates.values():
            if event.queue in fate.where:
                board.waits_not(fate)
                fate.acted_at = board.position
                fate.due_ns = None

    def _ended(self, end: Ended) -> None:
        board = self._board
        started = board.under.pop(end.op, None)
        if started is None:
            board.say(f"the history is wrong: operation {end.op} ended but never started")
            return
        whole = board.whole.get(end.op)
        if whole is not None:
            whole.outcome = end.outcome
        match started.event:
            case PutStarted() as event:
                puts = [(event.queue, body) for body in event.bodies]
                self._put_ended(puts, end, event.ttl_s)
                if end.outcome == "done":
                    self._settlements.firm(started.position, event.op)
            case SettleStarted() as event:
                self._settlements.ended(started, event, end)
            case TransactionStarted() as event:
                self._put_ended(event.puts, end)
                self._settlements.transaction_ended(started, event, end)
            case PurgeStarted() as event:
                self._purge_ended(started, event, end)
            case RedriveStarted() as event:
                self._redrive_ended(started, event, end)
            case BindStarted() as event:
                self._bindings.ended(event, end)

    def _remaining(self, event: Remaining) -> None:
        board = self._board
        found: set[str] = set()
        for message_id, body, attempts in event.messages:
            elsewhere = [bodies for name, bodies in board.found.items() if name != event.queue]
            if body in found or any(body in bodies for bodies in elsewhere):
                board.say(f"{body!r} was found twice")
            found.add(body)
            fate = board.sighted(event.queue, body, message_id)
            if fate is None:
                continue
            low, high = fate.where.get(event.queue, (0, 1 << 30))
            if fate.held and event.queue == fate.queue:
                low, high = min(low, fate.attempts), max(high, fate.attempts)
            if not low - 1 <= attempts <= high:
                board.say(
                    f"{body!r} was found in queue {event.queue!r} with {attempts} attempts; "
                    f"it must be from {low - 1} to {high}"
                )
        board.found[event.queue] = found


def _put_more_than_once(fate: Fate, event: Ended) -> Put:
    """What is known of a message after one of the puts of it ended."""
    if event.outcome == "done" or fate.put == "done":
        return "done"
    return "unknown"  # another of them may have stored it
