"""Which actors of a process an entry concerns, when there are hundreds of them: found by name, not by asking each."""

from __future__ import annotations

from collections.abc import Sequence

from actors.bot import BotDecider
from actors.seat import Seat
from events.decision import Recorded
from events.patterns import PatternIndex

FEW = 4  # so many are asked as fast as they are looked up
_ACCOUNT = "account."


class Dispatch:
    """Gives the same seats, in the same rank order, as asking every seat whether it hears the entry."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._index = PatternIndex((pattern, seat) for seat in seats for pattern in seat.decider.inbox)
        self._bots = {
            (bot.account, bot.plan.name): seat for seat in seats if isinstance(bot := seat.decider, BotDecider)
        }

    def hearers(self, entry: Recorded) -> tuple[Seat, ...]:
        route = self._index.find(entry.actor, entry.decision.kind)
        if len(route) > FEW and entry.actor.startswith(_ACCOUNT):
            route = self._narrowed(route, entry)
        return tuple(seat for seat in route if seat.decider.hears(entry))

    def _narrowed(self, route: tuple[Seat, ...], entry: Recorded) -> tuple[Seat, ...]:
        """An account's bots all listen to it, and nearly all it says is to one of them, by name."""
        named = {getattr(fact, "bot", "") for fact in entry.decision.facts}
        if "*" in named or "" in named:
            return route
        found = [self._bots.get((entry.actor, name)) for name in sorted(named)]
        return tuple(seat for seat in found if seat is not None)
