"""One actor at work: its decider, its state and where it stands. The same in backtest, live, restart and audit."""

from __future__ import annotations

from collections import deque
from typing import Any

from actors.decider import Decider, Poison
from events.control import ActorClaimed
from events.decision import Decision, Recorded, derived


class Seat:
    """Give it every entry of its inbox in tape order; it answers with the decision to append, if there is one.

    `version` is the sequence of the actor's last message; `at` that of the last entry it has dealt with; `stood_at`
    that of the decision which that entry had caused before (0: none had). `since` is the sequence of the claim with
    which the version that claimed last (`claimant`) took over from another one; 0 where there was no other. `said` is
    the id of the actor's last message; `answered` the cause and the sequence of the newest of its decisions among those
    that entries up to `at` caused.
    """

    __slots__ = (
        "actor", "answered", "at", "claimant", "decider", "epoch", "recorded", "said", "since", "state", "stood_at",
        "version",
    )  # fmt: skip

    def __init__(self, decider: Decider[Any]) -> None:
        self.decider = decider
        self.actor = decider.actor
        self.state = decider.initial()
        self.version = 0
        self.at = 0
        self.stood_at = 0
        self.epoch = 0
        self.claimant = ""
        self.since = 0
        self.said = ""
        self.answered = (0, 0)
        self.recorded: deque[Recorded] = deque()

    def recall(self, own: Recorded) -> None:
        """Takes note of a message this actor has put on the tape before."""
        self.version, self.said = own.seq, own.decision.id
        self.epoch = max(self.epoch, own.epoch)
        if own.decision.by and own.decision.cause > self.at:
            self.recorded.append(own)
        elif isinstance(first := own.decision.facts[0], ActorClaimed):
            self._claimed(own.seq, first.version)

    def _claimed(self, seq: int, version: str) -> None:
        """A claim stands at `seq`. What another version has decided stays; what it has not, this one never does."""
        if self.claimant and version and version != self.claimant:
            self.since = seq
        self.claimant = version or self.claimant

    def appended(self, decision: Decision, seq: int) -> None:
        """Takes note of a message that it has just put on the tape."""
        self.version, self.said = seq, decision.id
        if decision.by:
            self.answered = (decision.cause, seq)
        elif isinstance(first := decision.facts[0], ActorClaimed):
            self._claimed(seq, first.version)

    def react(self, entry: Recorded) -> Decision | None:
        """Deals with an entry. A decision that stands on the tape already is taken, and nothing is returned."""
        if entry.seq <= self.at:
            return None
        decider, state = self.decider, self.state
        try:
            if self.since:
                self._take_unheard(entry)
            decider.observe(state, entry)
            known = self._known(entry) if self.recorded else None
            if known is not None:
                facts = known.decision.facts
            else:
                facts = decider.decide(state, entry) if entry.seq > self.since else ()
            for fact in facts:
                decider.evolve(state, fact)
        except Poison:
            raise
        except Exception as error:
            raise Poison(self.actor, entry.seq, f"{type(error).__name__}: {error}") from error
        self.at = entry.seq
        self.stood_at = 0
        if known is not None:
            self.stood_at = known.seq
            self.answered = (entry.seq, known.seq)
        return derived(self.actor, entry, facts) if facts and known is None else None

    def _take_unheard(self, entry: Recorded) -> None:
        """What an earlier version decided because of entries that this one does not hear."""
        before = min(entry.seq, self.since)
        while self.recorded and self.recorded[0].decision.cause < before:
            for fact in self.recorded.popleft().decision.facts:
                self.decider.evolve(self.state, fact)

    def _known(self, entry: Recorded) -> Recorded | None:
        """The recorded decision that `entry` caused. Decisions stand in the order of their causes."""
        cause = self.recorded[0].decision.cause
        if cause > entry.seq:
            return None
        if cause < entry.seq:
            raise Poison(
                self.actor, entry.seq, f"the tape holds a decision of it caused by {cause}, which it never hears"
            )
        return self.recorded.popleft()
