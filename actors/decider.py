"""The one shape of every actor: a deterministic state machine that is told facts and answers with facts."""

from __future__ import annotations

from typing import Protocol, TypeVar

from events.decision import Recorded
from events.fact import Fact

S = TypeVar("S")


class Decider(Protocol[S]):
    """Pure: no clock, no chance, no I/O; the same entries in the same order give the same facts on any machine.

    For each entry of its inbox, in tape order, the host calls `observe`, then takes the recorded decision or calls
    `decide`, then calls `evolve` with each fact of that decision. The state belongs to the host and is changed in
    place by `observe` and `evolve`, never by `decide`.
    """

    actor: str
    version: str
    """Raised by hand when the same entries would be answered otherwise than before; every claim records it."""
    inbox: tuple[str, ...]
    """Patterns relative to the tape, such as `market.binance.BTC-USDT.>`."""

    def initial(self) -> S:
        """The state before the first fact."""

    def hears(self, entry: Recorded) -> bool:
        """Whether an entry of the inbox is meant for this actor; what it does not hear changes nothing."""

    def observe(self, state: S, entry: Recorded) -> None:
        """Takes in what the entry says."""

    def decide(self, state: S, entry: Recorded) -> tuple[Fact, ...]:
        """The facts that follow; () for none. Must not change the state."""

    def evolve(self, state: S, fact: Fact) -> None:
        """Takes in one fact of this actor's own decision, fresh or recorded."""


class Poison(Exception):
    """An entry this actor cannot deal with. A money actor halts on it, loudly; `seq` says where it stands."""

    def __init__(self, actor: str, seq: int, reason: str) -> None:
        super().__init__(f"{actor} cannot go on past tape sequence {seq}: {reason}")
        self.actor, self.seq, self.reason = actor, seq, reason

    def __reduce__(self) -> tuple[type[Poison], tuple[str, int, str]]:
        return type(self), (self.actor, self.seq, self.reason)  # it crosses processes
