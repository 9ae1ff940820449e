"""The actors that hear one symbol's trades or the bars made of them, for `actors.ticks`."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np

from actors.account import AccountDecider
from actors.account.columns import guards
from actors.account.decider import Source
from actors.bot import BotDecider, BotState, is_news
from actors.decider import Poison
from actors.seat import Seat
from actors.strategies import Target
from actors.symbol.tradecolumns import Trades
from events import subjects
from events.block import Floats, Ints
from events.decision import Decision, Recorded, derived
from events.market import Candle, Trade

NONE = 2**62
"""A row that no window has."""

_SCAN = 64


class Payer:
    """An account that hears a symbol's trades: those that `counts` names. Rows before `seen` are in its state."""

    def __init__(self, seat: Seat, venue: str, symbol: str) -> None:
        assert isinstance(seat.decider, AccountDecider)
        self.seat = seat
        self.source: Source = seat.decider.sources[subjects.feed(venue, symbol)]
        self.seen = self.due = 0

    def load(self, rows: Trades, counts: Ints | None) -> None:
        """`counts`: the rows it hears, None: all."""
        ts, price = rows.ts, rows.price
        self._rows = counts
        self._ts, self._price = (ts, price) if counts is None else (ts[counts], price[counts])
        self._newest = np.maximum.accumulate(self._ts) if (self._ts[1:] < self._ts[:-1]).any() else self._ts
        self.seen = self.due = 0
        self._day = (0, 0)

    def look(self, start: int) -> int:
        """The first row from `start` on that the account may answer; all before it leave its orders and day alone."""
        state = self.seat.state
        market, first = state.markets[self.source.key], self._place(start)
        if self._day[0] != state.day_end:
            self._day = (state.day_end, int(np.searchsorted(self._newest, state.day_end)))
        found = max(first, self._day[1])
        if market.orders and found > first:
            found = min(found, _first_beyond(self._price, first, found, *guards(market)))
        self.due = self._row(found)
        return self.due

    def see(self, end: int) -> None:
        """Takes in trades that change nothing, up to `end`, as `observe` would one by one."""
        if end <= self.seen:
            return
        first, last = self._place(self.seen), self._place(end)
        self.seen = end
        if last <= first:
            return
        market = self.seat.state.markets[self.source.key]
        market.before = float(self._price[last - 2]) if last - first > 1 else market.price
        market.price, market.ts = float(self._price[last - 1]), int(self._ts[last - 1]) + 1
        for order in market.orders.values():
            begun = first if order.met else first + _first_at(self._ts[first:last], order.ts)
            whole = last - begun
            order.rested = order.rested or whole > (0 if order.met else 1)
            order.met = order.met or whole > 0

    def react(self, entry: Recorded, row: int) -> Decision | None:
        self.seen = row + 1
        return self.seat.react(entry)

    def _place(self, row: int) -> int:
        return row if self._rows is None else int(np.searchsorted(self._rows, row))

    def _row(self, place: int) -> int:
        if place >= len(self._ts):
            return NONE
        return place if self._rows is None else int(self._rows[place])


def _first_beyond(price: Floats, start: int, end: int, low: float, high: float) -> int:
    if low > high:
        return start
    step = _SCAN
    while start < end:
        stop = min(end, start + step)
        part = price[start:stop]
        met = (part <= low) | (part >= high)
        place = int(met.argmax())
        if met[place]:
            return start + place
        start, step = stop, step * 4
    return end


def _first_at(ts: Ints, bound: int) -> int:
    """The first place at or after a time; their number where there is none."""
    later = ts >= bound
    place = int(later.argmax())
    return place if later[place] else len(ts)


class Shown:
    """What strategies are shown of a window: `candles`, which close at the rows `closings`, and `trades` of `rows`.

    `cuts`: how many of the trades come before each candle.
    """

    def __init__(self, trades: Sequence[Trade], rows: Sequence[int]) -> None:
        self.trades, self.rows = trades, rows
        self.candles: Sequence[Candle] = ()
        self.closings: Sequence[int] = ()
        self.cuts: Sequence[int] = ()

    def add(self, candles: Sequence[Candle], closings: Sequence[int]) -> None:
        self.candles, self.closings = candles, closings
        self.cuts = np.searchsorted(self.rows, closings, "right").tolist() if self.rows else [0] * len(closings)


class Hearer:
    """A bot. Its strategy has been shown the first `bars` candles and `ticks` trades of the window.

    `news`: the row at which it has something new to say, or has failed; nothing after that was shown.
    """

    def __init__(self, seat: Seat) -> None:
        assert isinstance(seat.decider, BotDecider)
        self.seat, self.decider = seat, seat.decider
        self.state: BotState = seat.state
        self.ticking = seat.decider.door is not None

    def load(self, shown: Shown) -> None:
        self._shown = shown
        self.bars = self.ticks = 0
        self.news = NONE
        self._of_bar = False  # whether the news are of a candle
        self._wish: Target | None = None
        self._error: Exception | None = None
        self._last: Candle | Trade | None = None

    def listen(self, stop: int) -> int:
        """Shows what comes before the row `stop`, until there are news; returns their row or `stop`."""
        if self.news == NONE and not self.state.started:
            # The first thing heard makes the bot say that it has started.
            heard, at = (self._shown.rows, self.ticks) if self.ticking else (self._shown.closings, self.bars)
            return min(stop, heard[at]) if at < len(heard) else stop
        if self.news == NONE:
            try:
                if self.ticking:
                    self._listen_to_trades(stop)
                else:
                    self._listen(bisect_left(self._shown.closings, stop, self.bars))
            except Exception as error:  # becomes Poison when its turn has come
                shown, self._error = self._shown, error
                self.news = shown.closings[self.bars - 1] if self._of_bar else shown.rows[self.ticks - 1]
        return min(self.news, stop)

    def _listen(self, end: int) -> None:
        """Shows candles up to place `end`."""
        shown, state, start = self._shown, self.state, self.bars
        if end <= start:
            return
        on_candle, position = state.strategy.on_candle, state.position
        self._of_bar = True
        for self.bars, candle in enumerate(shown.candles[start:end], start + 1):
            wish = on_candle(candle, position)
            if wish is not None and is_news(state, wish):
                self.news = shown.closings[self.bars - 1]
                break
        self._last, self._wish = candle, wish

    def _listen_to_trades(self, stop: int) -> None:
        shown, state = self._shown, self.state
        on_trade, position = state.strategy.on_trade, state.position
        last = bisect_left(shown.rows, stop, self.ticks)
        end = bisect_left(shown.closings, stop, self.bars)
        trades, cuts = shown.trades, shown.cuts
        while True:
            start, until = self.ticks, cuts[self.bars] if self.bars < end else last
            if until > start:
                self._of_bar = False
                for self.ticks, trade in enumerate(trades[start:until], start + 1):
                    wish = on_trade(trade, position)
                    if wish is not None and is_news(state, wish):
                        self.news = shown.rows[self.ticks - 1]
                        break
                self._last, self._wish = trade, wish
            if self.bars >= end or self.news != NONE:
                return
            self._listen(self.bars + 1)
            if self.news != NONE:
                return

    def hear_trade(self, row: int, entry: Recorded) -> Decision | None:
        """As `Seat.react` for the feed's message of a row."""
        shown = self._shown
        place = bisect_left(shown.rows, row)
        if place == len(shown.rows) or shown.rows[place] != row:
            return None
        if place < self.ticks and (self.news != row or self._of_bar):
            return None  # shown before, and there was nothing to say
        return self._answer(entry, shown.trades[place], place >= self.ticks)

    def hear_bar(self, place: int, entry: Recorded) -> Decision | None:
        """As `Seat.react` for the symbol's message of a candle."""
        shown = self._shown
        if place < self.bars and (self.news != shown.closings[place] or not self._of_bar):
            return None
        return self._answer(entry, shown.candles[place], place >= self.bars)

    def _answer(self, entry: Recorded, what: Candle | Trade, fresh: bool) -> Decision | None:
        state, decider, seat = self.state, self.decider, self.seat
        try:
            if fresh:
                self._show(what)
            if self._error is not None:
                raise self._error
            self.news = NONE
            self._last = what
            self.settle()
            seat.at, seat.stood_at = entry.seq, 0
            if state.started and not is_news(state, state.wish):
                return None
            facts = decider.decide(state, entry)
            for fact in facts:
                decider.evolve(state, fact)
        except Poison:
            raise
        except Exception as error:
            raise Poison(seat.actor, entry.seq, f"{type(error).__name__}: {error}") from error
        return derived(seat.actor, entry, facts) if facts else None

    def _show(self, what: Candle | Trade) -> None:
        strategy, position = self.state.strategy, self.state.position
        if isinstance(what, Trade):
            self.ticks += 1
            self._wish = strategy.on_trade(what, position)
        else:
            self.bars += 1
            self._wish = strategy.on_candle(what, position)

    def react(self, entry: Recorded) -> Decision | None:
        """`Seat.react` for a message that is neither a row nor a candle of this window."""
        self.settle()
        self._last = None
        return self.seat.react(entry)

    def settle(self) -> None:
        """Brings the state to what it is after what was shown last."""
        state, last = self.state, self._last
        if last is None:
            return
        state.wish = self._wish
        if isinstance(last, Candle):
            state.price, state.learnt = last.close, max(state.learnt, last.ts)
        else:
            state.price = last.price
            if self.bars:
                state.learnt = max(state.learnt, self._shown.candles[self.bars - 1].ts)

    def keep(self, heard: int, ids: dict[str, None], unheeded: bool) -> None:
        """Brings the state to the end of the window. `unheeded`: the last trade it heard was not shown."""
        self.settle()
        if self.ticking:
            self.state.heard, self.state.ids = heard, ids
            if unheeded:
                self.state.wish = None
