"""One symbol's trades on their way through the actors that hear them, for `actors.ticks`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from actors.seat import Seat
from actors.symbol import SymbolDecider, tradecolumns
from actors.symbol.rules import IDS_MAX
from actors.symbol.tradecolumns import Judged, Trades
from actors.tickhearers import Hearer, Payer, Shown
from events import subjects
from events.block import Columns, Ints
from events.decision import Decision, Recorded
from events.market import Candle, Trade
from events.tickbulk import SIDES

_SIDES = np.array(SIDES, dtype=object)


class Lane:
    """A window of one symbol's trades, and the actors that hear them in rank order.

    `judged`: None as long as the stream is not whole: every row goes the long way then. `published`: what the symbol
    said of rows that went it as odd ones, with the number of plain bars before. `odd`: how many of them there were.
    """

    def __init__(self, seat: Seat, accounts: list[Seat], bots: list[Seat]) -> None:
        assert isinstance(seat.decider, SymbolDecider)
        self.seat, self.decider, self.market = seat, seat.decider, seat.actor
        plan = seat.decider.plan
        self.venue, self.symbol, self.timeframe = plan.venue, plan.symbol, plan.base
        self.feed = subjects.feed(plan.venue, plan.symbol)
        self.eligible = tradecolumns.eligible(seat.decider)
        self.payers = [Payer(one, plan.venue, plan.symbol) for one in accounts]
        self.hearers = [Hearer(one) for one in bots]
        self.ticking = [one for one in self.hearers if one.ticking]
        self._by_actor = {one.seat.actor: one for one in self.hearers}

    def load(self, rows: Trades) -> None:
        self.rows, self.count = rows, len(rows.ts)
        self._made = self.trade_of()
        self.good = good = tradecolumns.sound(self.decider.rules, rows)
        self._sound = np.flatnonzero(good)
        self._news()
        self.passed = self.at = self.odd = self.numbered = 0
        self.published: list[tuple[int, Decision | None]] = []
        self.judged: Judged | None = None
        self.candles: list[Candle] = []
        self.closings: list[int] = []
        self._odd: Sequence[int] = ()
        self._next: int | None = None
        self._told()
        self._judge()

    def _news(self) -> None:
        """What is a price to accounts, which have all heard the same so far. `repeats`: some sound row is none."""
        self.repeats, self._last_ids = False, dict[str, None]()
        if self.payers:
            market = self.payers[0].market
            news, _, self._last_ids = told(self.rows, self._sound, market.ts - 1, market.ids)
            self.repeats = len(news) < len(self._sound)
            self._last_news = int(news[-1]) if len(news) else -1
            for payer in self.payers:
                payer.load(self.rows, None if len(news) == self.count else news)

    def _told(self) -> None:
        """What strategies that hear trades are shown of them: all bots of a symbol have heard the same so far."""
        self._shown = Shown(np.empty(0, np.int64), self.trades)
        if self.ticking:
            state = self.ticking[0].state
            rows, self._heard, self._ids = told(self.rows, self._sound, state.heard, state.ids)
            self._unheeded = bool(len(self._sound)) and not (len(rows) and rows[-1] == self._sound[-1])
            self._shown = Shown(rows, self.trades)
        for hearer in self.hearers:
            hearer.load(self._shown)

    def trades(self, places: Ints) -> list[Trade]:
        """The facts of some rows, in order."""
        rows, names = self.rows, (repeat(self.venue), repeat(self.symbol))
        some: Any = places
        if len(places) and int(places[-1]) - int(places[0]) + 1 == len(places):
            some = slice(int(places[0]), int(places[-1]) + 1)
        ids = rows.id[some] if isinstance(some, slice) else map(rows.id.__getitem__, places.tolist())
        ts, price, qty = rows.ts[some].tolist(), rows.price[some].tolist(), rows.qty[some].tolist()
        return list(map(Trade, *names, ts, price, qty, _SIDES[rows.side[some]].tolist(), ids))

    def _judge(self) -> None:
        if not tradecolumns.ready(self.decider, self.seat.state):
            return
        self.judged = found = tradecolumns.judged(self.decider, self.seat.state, self.rows, self.good, self.at)
        self._odd = found.odd.tolist()
        self.closings = found.closings.tolist()
        if self.hearers:
            self.candles = self._candles(found.bars)
            self._shown.add(self.candles, self.closings)

    def _candles(self, bars: Columns) -> list[Candle]:
        assert bars.count is not None
        names = (repeat(self.venue), repeat(self.symbol), repeat(self.timeframe))
        columns = (getattr(bars, name).tolist() for name in ("ts", "open", "high", "low", "close", "volume", "count"))
        return list(map(Candle, *names, *columns))

    def trade(self, row: int) -> Trade:
        return self._made(row)

    def next_row(self) -> int:
        """The next row that must go the long way, or their number; strategies have been shown all before it."""
        if self._next is None:
            at, found = self.at, self.count
            if self.judged is None:
                found = min(found, at)
            else:
                found = self.next_odd(at)
                for payer in self.payers:
                    found = min(found, payer.look(at))
                for hearer in self.hearers:
                    found = hearer.listen(found)
            self._next = found
        return self._next

    def next_odd(self, start: int) -> int:
        """The first odd row from `start` on, or the number of rows."""
        place = bisect_left(self._odd, start)
        return self._odd[place] if place < len(self._odd) else self.count

    @property
    def closed_at(self) -> Ints:
        """The rows at which plain bars close."""
        return self.judged.closings if self.judged is not None else np.empty(0, np.int64)

    def trade_of(self) -> Callable[[int], Trade]:
        """`trade` of this window, also when the next one is there."""
        rows, venue, symbol = self.rows, self.venue, self.symbol

        def made(row: int) -> Trade:
            ts, price, qty, side = rows.ts.item(row), rows.price.item(row), rows.qty.item(row), rows.side.item(row)
            return Trade(venue, symbol, ts, price, qty, SIDES[side], rows.id[row])

        return made

    def is_odd(self, row: int) -> bool:
        if self.judged is None:
            return True
        place = bisect_left(self._odd, row)
        return place < len(self._odd) and self._odd[place] == row

    def bars_before(self, row: int) -> int:
        """How many plain bars close before a row."""
        return bisect_left(self.closings, row)

    def catch_up(self, row: int) -> None:
        """Takes rows before `row` into the symbol's state; those since the last time are not odd."""
        if self.judged is not None:
            tradecolumns.pass_over(self.decider, self.seat.state, self.rows, self.judged, self.passed, row)
        self.passed = max(self.passed, row)

    def dealt_with(self, row: int) -> None:
        self.at, self._next = row + 1, None
        if self.judged is None:
            self._judge()

    def react(self, seat: Seat, entry: Recorded) -> Decision | None:
        hearer = self._by_actor.get(seat.actor)
        return seat.react(entry) if hearer is None else hearer.react(entry)

    def close(self) -> None:
        """Brings every state to the end of the window."""
        self.catch_up(self.count)
        for payer in self.payers:
            payer.see(self.count)
            payer.market.ids = dict(self._last_ids)
            if len(self._sound):
                last = int(self._sound[-1])
                payer.market.news = (self.trade(last),) if last == self._last_news else ()
        for hearer in self.hearers:
            if hearer.ticking:
                hearer.keep(self._heard, dict(self._ids), self._unheeded)
            else:
                hearer.keep(0, {}, False)


def told(rows: Trades, sound: Ints, heard: int, ids: dict[str, None]) -> tuple[Ints, int, dict[str, None]]:
    """(the sound rows that a bot shows to its strategy, the time of the newest, its ids), as `bot.is_next` says."""
    ts = rows.ts[sound]
    if not len(ts):
        return sound, heard, ids
    newest = np.maximum.accumulate(np.concatenate(([heard], ts[:-1])))
    if (ts < newest).any():
        sound, ts, newest = sound[ts >= newest], ts[ts >= newest], newest[ts >= newest]
    if not len(ts):
        return sound, heard, ids
    same = ts == newest
    again = np.zeros(len(ts), np.bool_)
    known = ids if same[0] else {}
    if same.any():
        alike = same.copy()
        alike[:-1] |= same[1:]
        now = heard
        known = dict(ids)
        for place in np.flatnonzero(alike).tolist():
            if int(ts[place]) != now:
                now, known = int(ts[place]), {}
            text = rows.id[int(sound[place])]
            if text and text in known:
                again[place] = True
            elif text and len(known) < IDS_MAX:
                known[text] = None
    if not same[-1]:
        text = rows.id[int(sound[-1])]
        known = {text: None} if text else {}
    return (sound[~again] if again.any() else sound), int(ts[-1]), known
