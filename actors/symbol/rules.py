"""A symbol's plan, worked out once: the grids of its timeframes, its calendar and its bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

from actors.calendars import MONDAY, Calendar, calendar
from actors.plan import SymbolPlan
from events import block, timeframe
from events.decision import Recorded

RECENT_MAX = 1_500  # base bars kept at least to tell a duplicate from a revision: a day of minutes and an hour
TRIM = 128  # how many to forget at once: a dictionary finds its oldest key slowly after many deletions
IDS_MAX = 10_000  # trade ids kept for deduplication
FLAT_MAX = 1_440  # flat bars made in one decision; a longer silence is a gap
HOLES_MAX = 4_096  # stretches of missing bars kept open to be filled
OPEN_MAX = 512  # incomplete bars kept per higher timeframe
REJECTED_MAX = 1_000  # rejected rows of one block spelled out in its Quarantined
# What one message may hold, so that the answer to all of it fits a message of 1 MB too.
FACTS_MAX = 1_000
ROWS_MAX = block.ROWS_MAX  # of history, all blocks together
TEXT_MAX = 65_536  # characters of names and ids, all facts together
ID_MAX = 128  # characters of a trade id: ids are remembered

STAMP_MIN = 946_684_800_000_000  # 2000-01-01
STAMP_MAX = 4_102_444_800_000_000  # 2100-01-01
PRICE_MIN = 1e-15  # below any market; what a mad feed says below it would not fit exact money
PRICE_MAX = 1e15  # far beyond any market, and sums of what is below it stay finite
VOLUME_MAX = 1e18


class Grid(NamedTuple):
    """Bars of one timeframe close at `origin + k * length`: weeks on Mondays 00:00 UTC, all else counted from 1970."""

    name: str
    length: int
    origin: int

    def ceil(self, ts: int) -> int:
        """The close of the bar that a bar closing at `ts` belongs to."""
        return ts + (self.origin - ts) % self.length

    def floor(self, ts: int) -> int:
        return ts - (ts - self.origin) % self.length


def grid(name: str) -> Grid:
    length = timeframe.micros(name)
    return Grid(name, length, MONDAY if length % timeframe.micros("1w") == 0 else 0)


class Rules:
    """Raises ValueError where a timeframe is no multiple of the base, or a word of the plan is unknown."""

    def __init__(self, plan: SymbolPlan, jump: float) -> None:
        for word, known in ((plan.source, ("candles", "trades")), (plan.empty, ("flat", "omit"))):
            if word not in known:
                raise ValueError(f"{word!r} in the plan of {plan.venue} {plan.symbol}: write {' or '.join(known)}")
        self.plan, self.jump = plan, jump
        self.venue, self.symbol = plan.venue, plan.symbol
        self.trades, self.flat = plan.source == "trades", plan.empty == "flat"
        self.base = grid(plan.base)
        self.step, self.origin = self.base.length, self.base.origin
        self.higher = tuple(sorted((grid(name) for name in plan.timeframes), key=lambda one: one.length))
        for one in self.higher:
            if one.length <= self.step or one.length % self.step:
                raise ValueError(f"timeframe {one.name} of {plan.venue} {plan.symbol} is no multiple of {plan.base}")
        self.calendar: Calendar = calendar(plan.calendar)
        # A higher bar may be published before its end only by a calendar or a heartbeat; a bar after it is then late.
        self.gappy = bool(self.higher) and not (self.flat and self.calendar.continuous)
        self.low, self.high = STAMP_MIN, STAMP_MAX
        self.ahead = None if plan.ahead is None else plan.ahead * timeframe.SECOND
        bounds: Any = getattr(self.calendar, "bounds", None)
        if bounds is not None:
            # A calendar cannot answer about bars that reach out of its table: those are refused at the door.
            margin = 2 * max(one.length for one in (self.base, *self.higher))
            self.low, self.high = max(self.low, bounds[0] + margin), min(self.high, bounds[1] - margin)

    def latest(self, entry: Recorded) -> int:
        """The latest stamp that a message may hold. What is from the future settles all that comes before it."""
        if self.ahead is None or not entry.known_at:
            return self.high
        return min(self.high, entry.known_at + self.ahead)

    def expected(self, after: int, through: int) -> int:
        """How many bars are expected to close in (after, through]."""
        return self.calendar.closes(after, through, self.step, self.origin)

    def due(self, one: Grid, end: int) -> int:
        """When the bar of a higher timeframe that ends at `end` has all its base bars.

        That is its last expected close: a day of FX is complete on Friday evening. Where bars without trades are
        left out, nobody can tell before the end.
        """
        if not self.flat or self.calendar.continuous:
            return end
        last = self.calendar.gap(end - one.length, end + 1, self.step, self.origin)
        return last.last if last is not None else end
