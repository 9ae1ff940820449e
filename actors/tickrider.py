"""Plain trading over whole stretches of trades, for `actors.ticks`: see `actors.account.plain` for what is plain."""

from __future__ import annotations

from decimal import localcontext
from typing import NamedTuple

import numpy as np

from actors.account.money import EXACT, average_of, exact
from actors.account.plain import legs_of, money_after, trip_after
from actors.account.terms import Range, Scales, Start, Terms, range_of, scales_of, start_of, terms_of
from actors.strategies import FLAT, Position, Target
from actors.stretch import Said
from actors.tickhearers import Hearer, Payer
from actors.ticklane import Lane
from actors.tickstretch import TradeStretch
from actors.watch import Watch
from events import timeframe
from events.block import Columns, Ints
from events.market import Candle

_LEAST = 16  # rows: shorter stretches are not worth their columns


class _Heard(NamedTuple):
    row: int
    of_bar: bool
    wish: Target
    price: float


def rider_of(lanes: list[Lane]) -> Rider | None:
    """None where there is more than one symbol, account or bot, or where their trading is not plain."""
    if len(lanes) != 1 or len(lanes[0].payers) != 1 or len(lanes[0].hearers) != 1:
        return None
    lane, payer, hearer = lanes[0], lanes[0].payers[0], lanes[0].hearers[0]
    terms = terms_of(payer.decider, fractions=False)
    if hearer.decider.account != payer.seat.actor or terms is None or terms.qty <= 0:
        return None  # what a signal buys must not depend on what was earned
    return Rider(lane, payer, hearer, terms)


class Rider:
    """One bot on its own account, on the only symbol that is played."""

    def __init__(self, lane: Lane, payer: Payer, hearer: Hearer, terms: Terms) -> None:
        self.lane, self.payer, self.hearer, self.terms = lane, payer, hearer, terms
        self.book = hearer.decider.plan.name
        self._rows: Columns | None = None
        self._range: Range | None = None
        self._scales: Scales | None = None

    def load(self) -> None:
        self._rows = None

    def ride(self, first: int, seq: int) -> TradeStretch | None:
        """Deals with rows from `first` on as far as trading stays plain; None where there is nothing to deal with.

        `seq` is the last place on the tape. What was shown beyond the end waits as news.
        """
        lane, hearer = self.lane, self.hearer
        if lane.judged is None or lane.repeats or (start := self._start()) is None:
            return None
        stop = lane.next_odd(first)
        if stop - first < _LEAST or hearer.listen(stop) >= stop or not self._fits(start):
            return None
        heard = self._listen(start, stop)
        if not heard:
            return None
        end = hearer.news[0].row if hearer.news else stop
        with localcontext(EXACT):
            return self._settled(start, heard, first, end, seq)

    def _start(self) -> Start | None:
        state, account = self.hearer.state, self.payer.seat.state
        if not state.started or state.paused or state.undone:
            return None
        wanted = 0.0 if state.wanted is None else state.wanted.target
        return start_of(account, account.books[self.book], wanted)

    def _fits(self, start: Start) -> bool:
        """Whether the numbers of this window fit columns."""
        if self._rows is None:
            rows, count = self.lane.rows, self.lane.count
            price = rows.price
            self._rows = Columns(rows.ts, price, price, price, price, rows.qty, np.arange(count))
            good = price[self.lane.good]
            self._range = range_of(good, good)
        with localcontext(EXACT):
            self._scales = scales_of(self.terms, start, self._range)
        return self._scales is not None

    def _listen(self, start: Start, stop: int) -> list[_Heard]:
        """Shows the strategy what there is before `stop`, as far as its signals are filled by the very next trade."""
        hearer, state, ts = self.hearer, self.hearer.state, self.lane.rows.ts
        assert self._scales is not None, "the numbers of this window fit"
        guess = _Guess(start, self.terms, self._scales)
        found: list[_Heard] = []
        while hearer.listen(stop) < stop:
            row, of_bar, wish, error = hearer.news[0]
            if error is not None or wish is None or row + 1 >= stop or ts[row + 1] < ts[row]:
                break
            now, following = self._bar(row), self._bar(row + 1)
            if not guess.fits(wish, now, following):
                break
            before = state.wanted, state.asked
            price = hearer.last_price()
            news = hearer.news.popleft()
            state.wanted, state.asked = wish, int(ts[row])
            hearer.listen_on(row + 2)
            if hearer.news:  # before it is filled, there is more: told one after the other
                hearer.news.appendleft(news)
                state.wanted, state.asked = before
                break
            state.position = guess.filled(following, int(wish.target))
            found.append(_Heard(row, of_bar, wish, price))
        return found

    def _bar(self, row: int) -> Candle:
        lane, rows = self.lane, self.lane.rows
        price = float(rows.price[row])
        return Candle(lane.venue, lane.symbol, "", int(rows.ts[row]), price, price, price, price, float(rows.qty[row]))

    def _settled(self, start: Start, heard: list[_Heard], first: int, end: int, seq: int) -> TradeStretch:
        """Brings bot and account to the end of the stretch."""
        lane, rows, account = self.lane, self._rows, self.payer.seat.state
        assert rows is not None
        at = np.array([one.row for one in heard], np.int64)
        targets = np.array([int(one.wish.target) for one in heard], np.int64)
        assert self._scales is not None, "the numbers of this window fit"
        legs, _ = legs_of(self.terms, start, self._scales, rows, at, targets)
        price = account.markets[lane.market].price
        assert price is not None, "an account that is open has seen a price"
        stretch = TradeStretch(
            bot=self.hearer.decider.plan,
            account=self.payer.decider.plan,
            rows=rows,
            timeframe=lane.timeframe,
            first=first,
            end=end,
            seq=seq,
            before=price,
            terms=self.terms,
            start=start,
            said=_said(heard, at, targets),
            legs=legs,
            days=self.payer.days(first, end),
            prices=np.array([one.price for one in heard]),
            of_bar=np.array([one.of_bar for one in heard], np.bool_),
            closings=lane.closed_at,
            trade=lane.trade_of(),
        )
        if len(stretch.days):
            account.day_end = (int(rows.ts[stretch.days[-1]]) // timeframe.DAY + 1) * timeframe.DAY
            account.day_equity = stretch.day_equities(last=True)[0]
        self.payer.see(end)
        book, state = account.books[self.book], self.hearer.state
        after = money_after(self.terms, start, legs, rows.open[legs.row])
        account.cash, book.position, book.cost = after.cash, after.position, after.cost
        book.trip = trip_after(legs)
        entries = np.flatnonzero(~legs.exits)
        if len(entries):
            book.target = exact(float(legs.side[entries[-1]]))
        signal = book.wanted = stretch.signal(len(heard) - 1)
        state.wanted = Target(signal.target, confidence=signal.confidence, reasons=signal.reasons)
        state.asked = signal.ts
        average = average_of(after.cost, after.position)
        state.position = Position(after.position, average) if after.position else FLAT
        self.hearer.settle_after(heard[-1].row + 1)
        return stretch


def _said(heard: list[_Heard], at: Ints, targets: Ints) -> Said:
    wishes = [one.wish for one in heard]
    confidence = np.array([float(one.confidence) for one in wishes], np.float64)
    return Said(at, targets, confidence, lambda i: tuple(str(reason) for reason in wishes[i].reasons))


class _Guess(Watch):
    """What the account will come to, from signal to signal."""

    def __init__(self, start: Start, terms: Terms, scales: Scales) -> None:
        super().__init__(None, terms, start, scales)  # type: ignore[arg-type]

    def fits(self, wish: Target, now: Candle, following: Candle) -> bool:
        return self._plain(wish, now, following)

    def filled(self, following: Candle, target: int) -> Position:
        return self._fill(following, target)
