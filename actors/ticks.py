"""Lock-step over columns of trades, for symbols whose bars are made of them: the decisions of `actors.lockstep`.

Most trades only add to a bar. Those that close one and nothing else, that reach no order and tell no strategy anything
new are taken into the states at once; all others go the long way, through the same deciders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from actors.account import AccountDecider
from actors.bot import BotDecider
from actors.decider import Decider
from actors.lockstep import Lockstep
from actors.seat import Seat
from actors.symbol import SymbolDecider
from actors.symbol.tradecolumns import Trades
from actors.ticklane import Lane
from actors.tickrider import rider_of
from actors.tickstretch import TradeStretch
from events.block import Ints
from events.decision import Decision, Recorded, derived
from events.feed import observed

Window = Mapping[str, Trades]
"""By feed: the next trades that it says. Rows of several feeds are played by time, then by feed; one that comes late
is played after what its feed said before it. The next window begins where this one ends."""


class Ticks(Lockstep):
    """`sink` is shown the entries that were made; `passed` each lane at the end of a window, for all the others.

    `traded`: told of stretches of plain trading instead of `sink`.
    """

    def __init__(
        self,
        deciders: Iterable[Decider[Any]],
        sink: Callable[[Recorded], None],
        passed: Callable[[Lane], None] | None = None,
        traded: Callable[[TradeStretch], None] | None = None,
    ) -> None:
        super().__init__(deciders, sink)
        self._passed, self._traded = passed, traded or self._told
        self._lanes = {lane.feed: lane for lane in self._made()}
        self._rider = rider_of(list(self._lanes.values()))

    def _made(self) -> Iterator[Lane]:
        for seat in self.seats:
            if isinstance(seat.decider, SymbolDecider) and seat.decider.rules.trades:
                plan = seat.decider.plan
                accounts = [one for one in self.seats if _prices(one, f"feed.{plan.venue}.{plan.symbol}")]
                yield Lane(seat, accounts, [one for one in self.seats if _trades(one, seat.actor)])

    @property
    def feeds(self) -> tuple[str, ...]:
        """Feeds whose trades can be played in columns; the others are fed message by message."""
        return tuple(feed for feed, lane in self._lanes.items() if lane.eligible)

    def play(self, window: Window) -> None:
        """Deals with all trades of a window. Raises Poison where an actor cannot go on."""
        lanes = [self._lanes[feed] for feed in sorted(window) if len(window[feed].ts)]
        for lane in lanes:
            lane.load(window[lane.feed])
        course = _Course(lanes)
        if self._rider is not None and lanes:
            self._rider.load()
        at = 0
        while at < course.rows:
            at = self._ride(course, at)
            found = course.next_row()
            self.end += found - at + course.bars(found)
            if found < course.rows:
                self._long_way(course, found)
                found += 1
            at = found
        for lane in lanes:
            lane.close()
            if self._passed is not None:
                self._passed(lane)

    def _ride(self, course: _Course, at: int) -> int:
        """Plain trading is dealt with in stretches; the first row after them."""
        stretch = self._rider.ride(at, self.end) if self._rider is not None else None
        if stretch is None:
            return at
        self.end += stretch.end - at + course.bars(stretch.end)
        self._traded(stretch)
        self.end += stretch.decisions
        course.lanes[0].dealt_with(stretch.end - 1)
        return stretch.end

    def _told(self, stretch: TradeStretch) -> None:
        for entry in stretch.entries():
            self._sink(entry)

    def _long_way(self, course: _Course, at: int) -> None:
        lane, row = course.place(at)
        course.settle(lane, row, at)
        trade = lane.trade(row)
        said = observed(lane.feed, trade.ts, trade)
        pending: deque[Recorded] = deque()
        if lane.is_odd(row):
            self._odd(pending, lane, row, said)
        else:
            self._plain(pending, lane, row, said)
        while pending:
            entry = pending.popleft()
            for seat in self._router.hearers(entry):
                self._take(pending, seat.actor, lane.react(seat, entry))
        lane.dealt_with(row)

    def _plain(self, pending: deque[Recorded], lane: Lane, row: int, said: Decision) -> None:
        """The symbol says one bar, or nothing."""
        self.end += 1
        heard = Recorded(self.end, lane.feed, said, said.ts)
        bar, market = lane.numbered, None
        if lane.bars_before(row + 1) > bar:
            lane.numbered += 1
            self.end += 1
            decision = derived(lane.market, heard, (lane.candles[bar],)) if lane.candles else None
            market = Recorded(self.end, lane.market, decision, said.ts) if decision is not None else None
        self._tell(pending, lane, row, heard)
        if market is not None:
            for hearer in lane.hearers:
                self._take(pending, hearer.seat.actor, hearer.hear_bar(bar, market))

    def _odd(self, pending: deque[Recorded], lane: Lane, row: int, said: Decision) -> None:
        lane.catch_up(row)
        entry = self._put(lane.feed, said)
        decision = lane.seat.react(entry)
        lane.passed = row + 1
        lane.odd += 1
        if decision is not None:
            lane.published.append((lane.numbered, decision))
            pending.append(self._put(lane.market, decision))
        if lane.good[row]:
            self._tell(pending, lane, row, entry)

    def _tell(self, pending: deque[Recorded], lane: Lane, row: int, heard: Recorded) -> None:
        """Tells a trade to accounts and bots."""
        for payer in lane.payers:
            if payer.due <= row or lane.judged is None:
                self._take(pending, payer.seat.actor, payer.react(heard, row))
            else:
                payer.see(row + 1)
        for hearer in lane.ticking:
            self._take(pending, hearer.seat.actor, hearer.hear_trade(row, heard))

    def _take(self, pending: deque[Recorded], actor: str, decision: Decision | None) -> None:
        if decision is not None:
            pending.append(self._put(actor, decision))


class _Course:
    """The rows of several lanes in the order in which they are played."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.rows = sum(lane.count for lane in lanes)
        self._at: list[Ints] = []
        if len(lanes) > 1:
            order, owners, starts = merged([lane.rows for lane in lanes], [lane.good for lane in lanes])
            position = np.empty(self.rows, np.int64)
            position[order] = np.arange(self.rows)
            self._at = [position[a:b] for a, b in pairwise(starts.tolist())]
            self._owners: list[int] = owners[order].tolist()
            self._places: list[int] = (order - starts[owners[order]]).tolist()

    def place(self, at: int) -> tuple[Lane, int]:
        if not self._at:
            return self.lanes[0], at
        return self.lanes[self._owners[at]], self._places[at]

    def next_row(self) -> int:
        """The next row, in the order of play, that must go the long way."""
        if not self._at:
            return self.lanes[0].next_row()
        found = self.rows
        for lane, position in zip(self.lanes, self._at, strict=True):
            row = lane.next_row()
            if row < lane.count:
                found = min(found, int(position[row]))
        return found

    def bars(self, at: int) -> int:
        """How many plain bars close before the row `at` that were not numbered yet."""
        new = 0
        for number, lane in enumerate(self.lanes):
            row = at if not self._at else int(np.searchsorted(self._at[number], at))
            before = lane.bars_before(row)
            new += before - lane.numbered
            lane.numbered = before
        return new

    def settle(self, lane: Lane, row: int, at: int) -> None:
        """Accounts know the prices of every row before this one."""
        for one, position in zip(self.lanes, self._at, strict=False):
            if one is not lane:
                before = int(np.searchsorted(position, at))
                for payer in one.payers:
                    payer.see(before)
        for payer in lane.payers:
            payer.see(row)


def merged(rows: list[Trades], good: list[Any]) -> tuple[Ints, Ints, Ints]:
    """(the order of play of rows end to end, the owner of each, where each owner's begin)."""
    reach = [np.maximum.accumulate(np.where(fine, one.ts, 0)) for one, fine in zip(rows, good, strict=True)]
    lengths = [len(one) for one in reach]
    owners = np.repeat(np.arange(len(rows)), lengths)
    order = np.lexsort((owners, np.concatenate(reach)))
    return order, owners, np.cumsum([0, *lengths])


def _prices(seat: Seat, feed: str) -> bool:
    return isinstance(seat.decider, AccountDecider) and feed in seat.decider.sources


def _trades(seat: Seat, market: str) -> bool:
    return isinstance(seat.decider, BotDecider) and seat.decider.market == market
