"""The actors that hear one symbol's trades or the bars made of them, for `actors.ticks`."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from actors.account import AccountDecider
from actors.account.book import Market
from actors.account.columns import guards
from actors.account.decider import Source
from actors.bot import BotDecider, BotState, is_news
from actors.decider import Poison
from actors.seat import Seat
from actors.strategies import Strategy, Target
from actors.symbol.tradecolumns import Trades
from events import subjects, timeframe
from events.block import Floats, Ints
from events.decision import Decision, Recorded, derived
from events.market import Candle, Trade

NONE = 2**62
"""A row that no window has."""

_SCAN = 64
_PIECE = 1_024  # trades made at a time
_FEW = 64  # candles taken at a time


class Payer:
    """An account that hears a symbol's trades: those that `counts` names. Rows before `seen` are in its state."""

    def __init__(self, seat: Seat, venue: str, symbol: str) -> None:
        assert isinstance(seat.decider, AccountDecider)
        self.seat, self.decider = seat, seat.decider
        self.source: Source = seat.decider.sources[subjects.feed(venue, symbol)]
        self.seen = self.due = 0

    @property
    def market(self) -> Market:
        found: Market = self.seat.state.markets[self.source.key]
        return found

    def load(self, rows: Trades, counts: Ints | None) -> None:
        """`counts`: the rows that are prices to it, None: all."""
        ts, price = rows.ts, rows.price
        self._rows = counts
        self._ts, self._price = (ts, price) if counts is None else (ts[counts], price[counts])
        self._newest = np.maximum.accumulate(self._ts) if (self._ts[1:] < self._ts[:-1]).any() else self._ts
        self.seen = self.due = 0
        self._day = (0, 0)

    def look(self, start: int) -> int:
        """The first row from `start` on that the account may answer; all before it leave its orders and day alone."""
        market, first = self.seat.state.markets[self.source.key], self._place(start)
        found = max(first, self._day_start())
        if market.orders and found > first:
            found = min(found, _first_beyond(self._price, first, found, *guards(market)))
        self.due = self._row(found)
        return self.due

    def days(self, first: int, end: int) -> Ints:
        """Rows from `first` on, before `end`, on which a UTC day starts."""
        start, stop = self._place(first), self._place(end)
        begun = self.seat.state.day_end
        if stop == start or int(self._newest[stop - 1]) < begun:
            return np.empty(0, np.int64)
        bounds = np.arange(begun, int(self._newest[stop - 1]) + 1, timeframe.DAY)
        places = np.unique(np.searchsorted(self._newest, bounds))
        places = places[(places >= start) & (places < stop)]
        return places if self._rows is None else self._rows[places]

    def _day_start(self) -> int:
        day_end = self.seat.state.day_end
        if self._day[0] != day_end:
            self._day = (day_end, int(np.searchsorted(self._newest, day_end)))
        return self._day[1]

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
        market.ids = {}  # of which only `told` needs to know, for this window
        market.price, market.ts = float(self._price[last - 1]), int(self._ts[last - 1]) + 1
        for order in market.orders.values():
            begun = first if order.met else first + _first_at(self._ts[first:last], order.ts)
            whole = last - begun
            order.rested = order.rested or whole > (0 if order.met else 1)
            order.met = order.met or whole > 0

    def react(self, entry: Recorded, row: int) -> Decision | None:
        self.seen = row + 1
        if self._rows is not None and self._row(self._place(row)) != row:
            return None  # no price to it
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
    """What strategies are shown of a window: `candles`, which close at the rows `closings`, and the trades of `rows`.

    `cuts`: how many of the trades come before each candle. `made` makes the trades of some of the rows.
    """

    def __init__(self, rows: Ints, made: Callable[[Ints], list[Trade]]) -> None:
        self.rows: list[int] = rows.tolist()
        self._places, self._made = rows, made
        self._piece: list[Trade] = []
        self._from = 0
        self.candles: Sequence[Candle] = ()
        self.closings: Sequence[int] = ()
        self.cuts: Sequence[int] = ()

    def add(self, candles: Sequence[Candle], closings: Sequence[int]) -> None:
        self.candles, self.closings = candles, closings
        self.cuts = np.searchsorted(self._places, closings, "right").tolist()

    def trades(self, start: int, end: int) -> list[Trade]:
        """From place `start` on, before `end`: at least one, not always all. They are made in pieces, for what was
        made just now is still in the processor's cache."""
        at = start - self._from
        if not 0 <= at < len(self._piece):
            self._from, at = start, 0
            self._piece = self._made(self._places[start : start + _PIECE])
        return self._piece[at : at + end - start]


class News(NamedTuple):
    """What a strategy said, or raised, at a row: of the candle that closes there, or of the trade itself."""

    row: int
    of_bar: bool
    wish: Target | None
    error: Exception | None = None


class Hearer:
    """A bot. Its strategy has been shown the first `bars` candles and `ticks` trades of the window.

    `news`: what it has said that is new and was not told yet; nothing after that was shown.
    """

    def __init__(self, seat: Seat) -> None:
        assert isinstance(seat.decider, BotDecider)
        self.seat, self.decider = seat, seat.decider
        self.state: BotState = seat.state
        self.ticking = seat.decider.door is not None
        self._deaf = self.ticking and type(self.state.strategy).on_candle is Strategy.on_candle  # it says nothing

    def load(self, shown: Shown) -> None:
        self._shown = shown
        self.bars = self.ticks = 0
        self.news: deque[News] = deque()
        self._of_bar = False
        self._wish: Target | None = None
        self._last: Candle | Trade | None = None

    def listen(self, stop: int) -> int:
        """Shows what comes before the row `stop`, until there are news; returns their row or `stop`."""
        if not self.state.started:
            # The first thing heard makes the bot say that it has started.
            shown = self._shown
            heard, at = (shown.rows, self.ticks) if self.ticking else (shown.closings, self.bars)
            return min(stop, heard[at]) if at < len(heard) else stop
        if not self.news:
            self.listen_on(stop)
        return min(self.news[0].row, stop) if self.news else stop

    def listen_on(self, stop: int) -> None:
        """Shows what comes before the row `stop`, until there are more news."""
        try:
            if self.ticking:
                self._listen_to_trades(stop)
            else:
                self._listen(bisect_left(self._shown.closings, stop, self.bars))
        except Exception as error:  # becomes Poison when its turn has come
            shown = self._shown
            row = shown.closings[self.bars - 1] if self._of_bar else shown.rows[self.ticks - 1]
            self.news.append(News(row, self._of_bar, None, error))

    def _listen(self, end: int) -> bool:
        """Shows candles up to place `end`; whether there are news."""
        shown, state = self._shown, self.state
        if self._deaf and self.bars < end:
            self.bars, self._last, self._wish = end, shown.candles[end - 1], None
        on_candle, position = state.strategy.on_candle, state.position
        while self.bars < end:
            self._of_bar, start = True, self.bars
            for self.bars, candle in enumerate(shown.candles[start : min(end, start + _FEW)], start + 1):
                wish = on_candle(candle, position)
                if wish is not None and is_news(state, wish):
                    self._last, self._wish = candle, wish
                    self.news.append(News(shown.closings[self.bars - 1], True, wish))
                    return True
            self._last, self._wish = candle, wish
        return False

    def _listen_to_trades(self, stop: int) -> None:
        shown, state = self._shown, self.state
        on_trade, position = state.strategy.on_trade, state.position
        last = bisect_left(shown.rows, stop, self.ticks)
        end = bisect_left(shown.closings, stop, self.bars)
        cuts = shown.cuts
        while True:
            start, until = self.ticks, cuts[self.bars] if self.bars < end else last
            if until > start:
                self._of_bar = False
                for self.ticks, trade in enumerate(shown.trades(start, until), start + 1):
                    wish = on_trade(trade, position)
                    if wish is not None and is_news(state, wish):
                        self._last, self._wish = trade, wish
                        self.news.append(News(shown.rows[self.ticks - 1], False, wish))
                        return
                self._last, self._wish = trade, wish
                if self.ticks < until:
                    continue
            if self.bars >= end or self._listen(self.bars + 1):
                return

    def hear_trade(self, row: int, entry: Recorded) -> Decision | None:
        """As `Seat.react` for the feed's message of a row."""
        shown = self._shown
        place = bisect_left(shown.rows, row)
        if place == len(shown.rows) or shown.rows[place] != row:
            return None
        return self._hear(entry, row, shown.trades(place, place + 1)[0], place < self.ticks)

    def hear_bar(self, place: int, entry: Recorded) -> Decision | None:
        """As `Seat.react` for the symbol's message of a candle."""
        shown = self._shown
        return self._hear(entry, shown.closings[place], shown.candles[place], place < self.bars)

    def _hear(self, entry: Recorded, row: int, what: Candle | Trade, shown: bool) -> Decision | None:
        wish: Target | None = None
        try:
            if not shown:
                wish = self._show(what)
            elif not self.news or self.news[0][:2] != (row, isinstance(what, Candle)):
                return None  # there was nothing to say
            else:
                news = self.news.popleft()
                wish = news.wish
                if news.error is not None:
                    raise news.error
            return self._answer(entry, what, wish)
        except Poison:
            raise
        except Exception as error:
            raise Poison(self.seat.actor, entry.seq, f"{type(error).__name__}: {error}") from error

    def _show(self, what: Candle | Trade) -> Target | None:
        strategy, position = self.state.strategy, self.state.position
        if isinstance(what, Trade):
            self.ticks += 1
            wish = strategy.on_trade(what, position)
        else:
            self.bars += 1
            wish = strategy.on_candle(what, position)
        self._last, self._wish = what, wish
        return wish

    def _answer(self, entry: Recorded, what: Candle | Trade, wish: Target | None) -> Decision | None:
        state, decider, seat = self.state, self.decider, self.seat
        self._learn(what, wish)
        seat.at, seat.stood_at = entry.seq, 0
        if state.started and not is_news(state, wish):
            return None
        facts = decider.decide(state, entry)
        for fact in facts:
            decider.evolve(state, fact)
        return derived(seat.actor, entry, facts) if facts else None

    def _learn(self, what: Candle | Trade, wish: Target | None) -> None:
        state = self.state
        state.wish = wish
        if isinstance(what, Candle):
            state.price, state.learnt = what.close, max(state.learnt, what.ts)
            return
        state.price = what.price
        if self.bars:
            state.learnt = max(state.learnt, self._shown.candles[self.bars - 1].ts)

    def react(self, entry: Recorded) -> Decision | None:
        """`Seat.react` for a message that is neither a row nor a candle of this window."""
        self.settle()
        self._last = None
        return self.seat.react(entry)

    def settle(self) -> None:
        """Brings the state to what it is after what was shown last."""
        if self._last is not None:
            self._learn(self._last, self._wish)

    def settle_after(self, fill: int) -> None:
        """Brings the state to after what was shown last, the account having told of a fill at the row `fill`."""
        self.settle()
        shown = self._shown
        bar = shown.closings[self.bars - 1] if self.bars else -1
        trade = shown.rows[self.ticks - 1] if self.ticks else -1
        if max(bar, trade) <= fill:
            self.state.wish = self._last = None  # that was heard last

    def last_price(self) -> float:
        """Of what was shown last."""
        assert self._last is not None, "something was said of it"
        return self._last.close if isinstance(self._last, Candle) else self._last.price

    def keep(self, heard: int, ids: dict[str, None], unheeded: bool) -> None:
        """Brings the state to the end of the window. `unheeded`: the last trade it heard was not shown."""
        self.settle()
        if self.ticking:
            self.state.heard, self.state.ids = heard, ids
            if unheeded:
                self.state.wish = None
