"""Lock-step over columns: the decisions of `actors.lockstep`, with messages made only where something is decided.

Most candles pass: their symbol publishes them unchanged, no order is met, no bot has anything new to say. Runs of such
rows are taken into the states at once. Every other row goes the long way, through the same deciders, so both loops come
to the same decisions with the same ids.
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
from actors.lane import Lane
from actors.lockstep import Lockstep
from actors.rider import rider_of
from actors.seat import Seat
from actors.stretch import Stretch
from actors.symbol import SymbolDecider
from actors.symbol.columns import Judge, judged
from events.block import Columns, Ints
from events.decision import Decision, Recorded, derived
from events.feed import observed

Window = Mapping[str, Columns]
"""By feed: the next candles that it says, in its symbol's base timeframe and in order of time. Rows of several feeds
are played by time, then by feed; the next window begins where this one ends."""


class Express(Lockstep):
    """`sink` is shown every entry but those of rows that pass; `passed` those, a window's worth at a time.

    `traded`: told of stretches of plain trading instead of `sink`.

    `columns`: strategies that have a column form are asked in columns.
    """

    def __init__(
        self,
        deciders: Iterable[Decider[Any]],
        sink: Callable[[Recorded], None],
        passed: Callable[[Lane], None] | None = None,
        traded: Callable[[Stretch], None] | None = None,
        *,
        columns: bool = True,
    ) -> None:
        super().__init__(deciders, sink)
        self.judge: Judge = judged  # may be set to one that remembers
        self._passed, self._traded = passed, traded or self._told
        self._lanes = {lane.feed: lane for lane in self._made(columns)}
        self._rider = rider_of(list(self._lanes.values()))

    def _made(self, columns: bool) -> Iterator[Lane]:
        for seat in self.seats:
            if isinstance(seat.decider, SymbolDecider):
                accounts = [one for one in self.seats if _prices(one, seat.actor)]
                bots = [one for one in self.seats if _trades(one, seat.actor)]
                yield Lane(seat, accounts, bots, columns)

    @property
    def feeds(self) -> tuple[str, ...]:
        """Feeds whose candles can be played in columns; the others are fed message by message."""
        return tuple(feed for feed, lane in self._lanes.items() if lane.eligible)

    def feed(self, actor: str, message: Decision) -> None:
        self.settle()
        super().feed(actor, message)

    def settle(self) -> None:
        """Brings all states up to date; to be called before somebody looks at them."""
        for lane in self._lanes.values():
            lane.remember()

    def play(self, window: Window) -> None:
        """Deals with all candles of a window. Raises Poison where an actor cannot go on."""
        course = _Course([self._lanes[feed] for feed in sorted(window) if len(window[feed])])
        for lane in course.lanes:
            lane.load(window[lane.feed], self.judge)
        course.merge()
        if self._rider is not None and course.lanes:
            self._rider.load()
        at = 0
        while at < course.rows:
            at = self._ride(course, at)
            found = self._listen(course, at)
            self.end += 2 * (found - at)
            if found < course.rows:
                self._long_way(course, found)
                found += 1
            at = found
        for lane in course.lanes:
            lane.close()
            if self._passed is not None:
                self._passed(lane)

    def _ride(self, course: _Course, at: int) -> int:
        """Plain trading is dealt with in stretches; the first row after them."""
        if self._rider is None:
            return at
        lane, listener = self._rider.lane, self._rider.listener
        while True:
            ride = self._rider.ride(at, self.end, self._stretched)
            self.end += 2 * (ride.end - at)
            if ride.error is not None:
                raise lane.poison(self.end + ride.decisions + 2, ride.error) from ride.error
            if ride.end > at:
                lane.dealt_with(ride.end - 1)
            at = ride.end
            if not ride.shown:
                return at
            for wish in ride.shown:
                lane.stop()  # holders look out
                listener.candle, listener.wish = lane.candles[at], wish
                self._long_way(course, at)
                at += 1

    def _stretched(self, stretch: Stretch) -> None:
        self._traded(stretch)
        self.end += stretch.decisions

    def _told(self, stretch: Stretch) -> None:
        for entry in stretch.entries():
            self._sink(entry)

    def _listen(self, course: _Course, start: int) -> int:
        """The next row to go the long way; strategies that see every candle have been shown all up to it."""
        stop = course.stop()
        if not course.listening:
            return stop
        lanes, shown = course.lanes, min(stop + course.is_plain(stop), course.rows)
        at = start
        try:
            if course.alone is not None:
                return min(stop, start + course.alone.listen(lanes[0].candles[start:shown]))
            for at in range(start, shown):
                lane, row = course.place(at)
                if lane.show(row):
                    return at
        except Exception as error:
            if course.alone is not None:
                at = start + course.alone.count
            lane, _ = course.place(at)
            raise lane.poison(self.end + 2 * (at - start) + 2, error) from error
        return stop

    def _long_way(self, course: _Course, at: int) -> None:
        lane, row = course.place(at)
        candle, plain = lane.candle(row), bool(lane.judged.plain[row])
        course.settle(lane, row, at)
        said = observed(lane.feed, candle.ts, candle)
        pending: deque[Recorded] = deque()
        if plain:
            self.end += 1
            heard = Recorded(self.end, lane.feed, said, candle.ts)
            self.end += 1
            entry = Recorded(self.end, lane.market, derived(lane.market, heard, (candle,)), candle.ts)
            for holder in lane.holders:
                if holder.due <= row:
                    self._take(pending, holder.seat.actor, holder.react(entry, row))
                else:
                    holder.see(lane.rows, row + 1)
            for listener in lane.listeners:
                if listener.columnar:
                    lane.recall(listener, row)
                self._take(pending, listener.seat.actor, listener.answer(entry))
        else:
            lane.catch_up(row)
            lane.remember()
            entry = self._put(lane.feed, said)
            decision = lane.seat.react(entry)
            lane.passed = row + 1
            lane.published.append((row, decision))
            for holder in lane.holders:
                holder.seen = max(holder.seen, row + 1)
            if decision is not None:
                pending.append(self._put(lane.market, decision))
        while pending:
            entry = pending.popleft()
            for seat in self._router.hearers(entry):
                answered = lane.react(seat, entry, row)
                self._take(pending, seat.actor, answered)
        lane.dealt_with(row)

    def _take(self, pending: deque[Recorded], actor: str, decision: Decision | None) -> None:
        if decision is not None:
            pending.append(self._put(actor, decision))


class _Course:
    """The rows of several lanes in the order in which they are played."""

    def __init__(self, lanes: list[Lane]) -> None:
        self.lanes = lanes
        self.rows = 0

    def merge(self) -> None:
        lanes = self.lanes
        self.rows = sum(len(lane.rows) for lane in lanes)
        watching = [one for lane in lanes for one in lane.listeners if not one.columnar]
        self.listening = bool(watching)
        self.alone = watching[0] if len(lanes) == 1 and len(watching) == 1 else None
        self._at: list[Ints] = []
        self._owners: list[int] = []
        self._places: list[int] = []
        if len(lanes) > 1:
            ts = np.concatenate([lane.rows.ts for lane in lanes])
            owners = np.repeat(np.arange(len(lanes)), [len(lane.rows) for lane in lanes])
            order = np.lexsort((owners, ts))  # lanes stand in the order of their feeds
            position = np.empty(self.rows, np.int64)
            position[order] = np.arange(self.rows)
            starts = np.cumsum([0, *(len(lane.rows) for lane in lanes)])
            self._at = [position[a:b] for a, b in pairwise(starts.tolist())]
            self._owners = owners[order].tolist()
            self._places = (order - starts[owners[order]]).tolist()

    def place(self, at: int) -> tuple[Lane, int]:
        if not self._at:
            return self.lanes[0], at
        return self.lanes[self._owners[at]], self._places[at]

    def stop(self) -> int:
        """The next row, in the order of play, that must go the long way."""
        if not self._at:
            return self.lanes[0].stop() if self.lanes else 0
        found = self.rows
        for lane, position in zip(self.lanes, self._at, strict=True):
            row = lane.stop()
            if row < len(position):
                found = min(found, int(position[row]))
        return found

    def is_plain(self, at: int) -> bool:
        if at >= self.rows:
            return False
        lane, row = self.place(at)
        return bool(lane.judged.plain[row])

    def settle(self, lane: Lane, row: int, at: int) -> None:
        """Accounts know the prices of every row before this one."""
        for one, position in zip(self.lanes, self._at, strict=False):
            if one is not lane:
                before = int(np.searchsorted(position, at))
                for holder in one.holders:
                    holder.see(one.rows, before)
        for holder in lane.holders:
            holder.see(lane.rows, row)


def _prices(seat: Seat, market: str) -> bool:
    return isinstance(seat.decider, AccountDecider) and market in seat.decider.sources


def _trades(seat: Seat, market: str) -> bool:
    return isinstance(seat.decider, BotDecider) and seat.decider.market == market
