"""Settlements, one by one and in transactions: what they may do, and what they did."""

from __future__ import annotations

from posthouse.model import NANOSECONDS
from posthouse.testing.judging.board import Board, Soft, Under, after
from posthouse.testing.judging.fate import Fate
from posthouse.testing.judging.wholeness import Whole
from posthouse.testing.trace import Ended, SettleStarted, TransactionStarted


class Settlements:
    """Judges settlements."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def started(self, event: SettleStarted) -> None:
        """A delivery is being settled, or extended."""
        started = self._board.start(event)
        if event.verb != "extend":
            self._begun(started, event.verb, event.queue, event.id, event.token)

    def _begun(self, started: Under, verb: str, queue: str, message_id: str, token: int) -> None:
        """What may be true of the message from now on."""
        board = self._board
        fate = board.by_id.get(message_id)
        if fate is None:
            board.say(f"the history is wrong: message {message_id} was never delivered")
            return
        started.versions[message_id] = fate.version if fate.token == token else -1
        if fate.token != token:
            return
        fate.settling += 1
        if verb != "ack":
            board.arrives(queue, fate)
        attempts = fate.attempts
        if verb == "ack":
            fate.may_be_gone(started.event.op)
        elif verb == "give_back":
            fate.may_be_in({queue: (attempts, attempts)})
        else:
            where = board.policies.failed(queue, attempts)
            if verb == "reject":
                where = board.policies.buried(queue, attempts)
            fate.may_be_in(where, None if queue in where else board.position)
            if not where:
                fate.may_be_gone(started.event.op)

    def ended(self, started: Under, event: SettleStarted, end: Ended) -> None:
        """The call returned or raised."""
        fate = self._board.by_id.get(event.id)
        if fate is None:
            return
        if end.outcome == "failed":
            if started.versions.get(event.id) == fate.version:
                fate.settling -= 1
            fate.causes.discard(event.op)
            if fate.gone == "maybe" and not fate.causes:
                fate.gone = "no"
            self._check_expired(started, fate, event, end)
        elif end.outcome == "done":
            if event.verb == "extend":
                self._extended(event, fate)
                return
            # A nack without a delay comes back when its backoff, a random one, is over.
            due_ns = None if event.verb == "nack" and event.delay_s is None else 0
            if event.delay_s:
                due_ns = after(started.event.at_ns, event.delay_s)
            self._settled_as(started, fate, event, due_ns)
            if event.durable:
                self.firm(started.position, event.op)

    def _extended(self, event: SettleStarted, fate: Fate) -> None:
        board = self._board
        if fate.token != event.token:
            board.say(f"{fate.body!r} was extended with token {event.token}, not {fate.token}")
        if event.at_ns is not None and event.delay_s is not None:
            board.ends_ns[event.token] = event.at_ns + int(event.delay_s * NANOSECONDS)

    def _check_expired(self, started: Under, fate: Fate, event: SettleStarted, end: Ended) -> None:
        board = self._board
        ends_ns = board.ends_ns.get(event.token)
        if (
            end.why == "LeaseExpired"
            and fate.held
            and fate.token == event.token
            and started.life == board.life
            and ends_ns is not None
            and end.at_ns is not None
            and end.at_ns < ends_ns
        ):
            left_s = (ends_ns - end.at_ns) / NANOSECONDS
            board.say(
                f"{event.verb} of {fate.body!r} raised LeaseExpired; "
                f"its lease runs {left_s:.6f} s more"
            )

    def _settled_as(
        self, started: Under, fate: Fate, event: SettleStarted, due_ns: int | None
    ) -> None:
        """A settlement of the newest delivery took effect; ``due_ns`` None: nobody knows when."""
        board = self._board
        version = started.versions.get(event.id, -1)
        verb = event.verb
        if version < 0:
            board.say(
                f"{verb} of {fate.body!r} with token {event.token} was accepted, "
                f"but {fate.token} is newer"
            )
            return
        if version != fate.version:
            # Delivered again before the call returned: right for all but an ack.
            if verb == "ack":
                board.say(f"{fate.body!r} was delivered while its ack, which was done, waited")
            return
        if started.life != board.life and not event.durable:
            return
        queue, attempts = event.queue, fate.attempts
        fate.held = False
        fate.changed = board.position
        target = ""
        if verb == "ack":
            fate.gone = "yes"
            fate.causes = {event.op}
        else:
            # It may have been seen there, and acted on, before the call returned.
            acted = fate.acted_at >= started.position
            if verb == "give_back":
                where = {queue: (attempts, attempts)}
            elif verb == "nack":
                where = board.policies.failed(queue, attempts)
            else:
                where = board.policies.buried(queue, attempts)
            moved = queue not in where
            if moved or not acted:
                fate.where = where
            else:
                fate.may_be_in(where)
                due_ns = None
            fate.due_ns = 0 if moved else due_ns
            if not moved:
                board.arrives(queue, fate)
            if moved and where:
                (target,) = where
                board.moved(fate, target, (started.position, board.position))
                if acted:
                    fate.may_be_in({fate.home: (1, 1)}, started.position)
                    target = ""
            if not fate.where:
                fate.gone = "yes"
                fate.causes.add(event.op)
            certain = fate.where.keys() == {queue} and fate.gone == "no"
            if certain and fate.due_ns is not None and verb != "reject":
                board.waits(queue, fate)
        fate.soft.append((queue, attempts))
        soft = Soft(board.position, event.op, fate, fate.version, queue, attempts, target)
        board.settled.append(soft)

    def firm(self, position: int, op: int) -> None:
        """What is durable makes durable all that was accepted before it began."""
        board = self._board
        kept: list[Soft] = []
        for soft in board.settled:
            if soft.position >= position and soft.op != op:
                kept.append(soft)
                continue
            fate = soft.fate
            if (soft.queue, soft.attempts) in fate.soft:
                fate.soft.remove((soft.queue, soft.attempts))
            if fate.version == soft.version and fate.gone == "yes":
                fate.gone = "for ever"
            # Seen in its new queue as soon as that is on disk.
            certain = fate.version == soft.version and fate.gone == "no" and fate.due_ns == 0
            if certain and fate.where.keys() == {soft.target}:
                board.waits(soft.target, fate)
        board.settled = kept

    def transaction_started(self, event: TransactionStarted) -> None:
        """A transaction is being committed."""
        board = self._board
        started = board.start(event)
        acks: list[str] = []
        for verb, queue, message_id, token in event.settles:
            self._begun(started, verb, queue, message_id, token)
            fate = board.by_id.get(message_id)
            if verb == "ack" and fate is not None:
                acks.append(fate.body)
                fate.acking.append(event.op)
        if not event.again:  # else some of it may be there already
            board.whole[event.op] = Whole(event.op, list(event.puts), acks)
        for queue, body in event.puts:
            if not (event.again and board.put_again(body)):
                board.new(queue, body, event.op, 0)

    def transaction_ended(self, started: Under, event: TransactionStarted, end: Ended) -> None:
        """It returned or raised; its puts are looked at elsewhere."""
        for verb, queue, message_id, token in event.settles:
            settle = SettleStarted(verb, queue, message_id, token, durable=True, op=event.op)
            # Why it failed may be another of its steps: not looked into.
            self.ended(started, settle, Ended(end.op, end.outcome))
            fate = self._board.by_id.get(message_id)
            if fate is not None and end.outcome != "unknown" and event.op in fate.acking:
                fate.acking.remove(event.op)
        if end.outcome == "done":
            self.firm(started.position, event.op)
