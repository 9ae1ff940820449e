"""Lock-step in one process: the loop of a backtest, in the canonical order that live lock-step keeps as well.

Messages are dealt with in tape order; each by its hearers in rank order; decisions go to the end of the tape. The
next market fact is taken when nothing is left to deal with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from actors.decider import Decider
from actors.seat import Seat
from events import subjects
from events.decision import Decision, Recorded


class Router:
    """Which seats an entry concerns, in rank order."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._routes: dict[tuple[str, str], tuple[Seat, ...]] = {}

    def seats(self, actor: str, kind: str) -> tuple[Seat, ...]:
        route = self._routes.get((actor, kind))
        if route is None:
            route = tuple(
                seat
                for seat in self._seats
                if any(subjects.matches(pattern, actor, kind) for pattern in seat.decider.inbox)
            )
            self._routes[actor, kind] = route
        return route

    def hearers(self, entry: Recorded) -> tuple[Seat, ...]:
        route = self.seats(entry.actor, entry.decision.kind)
        return tuple([seat for seat in route if seat.decider.hears(entry)])


class Lockstep:
    """`sink` is shown every entry in tape order, inputs and decisions alike; nothing is kept here."""

    def __init__(self, deciders: Iterable[Decider[Any]], sink: Callable[[Recorded], None]) -> None:
        self.seats = tuple(Seat(decider) for decider in deciders)
        self._router = Router(self.seats)
        self._sink = sink
        self.end = 0

    def feed(self, actor: str, message: Decision) -> None:
        """Puts a message from outside on the tape and lets every actor deal with all that follows from it."""
        pending = deque((self._put(actor, message),))
        while pending:
            entry = pending.popleft()
            for seat in self._router.hearers(entry):
                decision = seat.react(entry)
                if decision is not None:
                    pending.append(self._put(seat.actor, decision))

    def _put(self, actor: str, decision: Decision) -> Recorded:
        self.end += 1
        entry = Recorded(self.end, actor, decision, decision.ts)
        self._sink(entry)
        return entry
