"""A stretch of plain trading on trades: as `actors.stretch`, with rows that are trades and signals at some of them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from decimal import localcontext

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors.account.money import EXACT
from actors.stretch import F, Stretch, _Telling, day_of
from actors.stretchwords import _HEAD, StretchWords
from events.block import Floats, Ints
from events.decision import Decision, Recorded, derived, id_after
from events.fact import Fact
from events.feed import observed
from events.market import Trade
from events.numbers import halves, ids_after, words
from events.trading import Fill, Signal, TradingDayStarted


class TradeStretch(Stretch, frozen=True, dict=True):
    """`rows` are trades, each a bar of its own price whose count is its row in the window.

    By signal: `prices`, the close of the bar or the price of the trade that it was made of, and `of_bar`, which of the
    two. `closings`: rows at which a bar closes. `trade` makes the fact of a row.
    """

    prices: Floats
    of_bar: NDArray[np.bool_]
    closings: Ints
    trade: Callable[[int], Trade]
    small: bool = False

    def facts(self, kind: type[F]) -> list[F]:
        if kind is Fill:
            with localcontext(EXACT):
                return list(_TradeTelling(self).fills())  # type: ignore[arg-type]
        return super().facts(kind)

    def entries(self) -> Iterator[Recorded]:
        return _TradeTelling(self).entries()

    def signal(self, number: int) -> Signal:
        return msgspec.structs.replace(super().signal(number), price=float(self.prices[number]))

    def compact(self) -> TradeStretch:
        if self.small:
            return self
        found = super().compact()
        assert isinstance(found, TradeStretch)
        assert found.rows.count is not None
        trades = [self.trade(row) for row in found.rows.count.tolist()]
        return msgspec.structs.replace(found, closings=self.closings[:0], trade=trades.__getitem__, small=True)


class _TradeTelling(_Telling):
    def __init__(self, stretch: TradeStretch) -> None:
        super().__init__(stretch)
        self.stretch = stretch
        self._of_bar = dict(zip(stretch.said.rows.tolist(), stretch.of_bar.tolist(), strict=True))

    def entries(self) -> Iterator[Recorded]:
        of = self.stretch
        signals = {row: number for number, row in enumerate(of.said.rows.tolist())}
        closings, done = of.closings.tolist(), of.first
        self._days = frozenset(of.days.tolist())
        for row in sorted(signals.keys() | self._days | set(of.legs.row.tolist())):
            self.seq += row - done + bisect_left(closings, row) - bisect_left(closings, done)
            done = row + 1
            place = bisect_left(closings, row)
            with localcontext(EXACT):
                told = list(self._of_row(row, place < len(closings) and closings[place] == row, signals.get(row)))
            yield from told

    def _of_row(self, row: int, closes: bool, signal: int | None) -> Iterator[Recorded]:
        of, (bot, account) = self.stretch, self.actors
        trade = of.trade(row)
        said = observed(self.feed, trade.ts, trade)
        self.seq += 1
        heard = cause = Recorded(self.seq, self.feed, said, trade.ts)
        if closes:
            self.seq += 1
        if self._of_bar.get(row):
            bar = Decision(id_after(self.market, said.id), heard.seq, said.id, trade.ts, ())
            cause = Recorded(self.seq, self.market, bar, trade.ts)
        orders, self.orders = self.orders, []
        facts: list[Fact] = [self._day(row, trade.ts)] if row in self._days else []
        facts += [self._fill(*order, trade.price, trade.ts) for order in orders]
        if facts:
            yield self._put(account, derived(account, heard, tuple(facts)))
        if signal is not None:
            own = self._put(bot, derived(bot, cause, (of.signal(signal),)))
            yield own
            yield self._put(account, derived(account, own, tuple(self._placed(signal, own))))

    def _day(self, row: int, ts: int) -> Fact:
        found = super()._day(row, ts)
        assert isinstance(found, TradingDayStarted)
        return msgspec.structs.replace(found, day=day_of(ts + 1))  # a trade at midnight belongs to the day that begins

    def _prefixes(self) -> list[str]:
        return [self._prefix(row) for row in self.of.said.rows.tolist()]

    def _prefix(self, row: int) -> str:
        trade = self.stretch.trade(row)
        said = observed(self.feed, trade.ts, trade).id
        for actor in (self.market, *self.actors) if self._of_bar[row] else self.actors:
            said = id_after(actor, said)
        return said[:16]


class TradeWords(StretchWords):
    """`ids`: (rows, 16), of the feed's messages on the rows of the stretch."""

    _loops = False

    def __init__(self, stretch: TradeStretch, ids: NDArray[np.uint8]) -> None:
        super().__init__(stretch, ids)
        self._stretch = stretch

    def bot(self) -> bytes:
        count = len(self.of.said)
        found = np.frombuffer(super().bot(), np.int64).reshape(count, -1).copy()
        found[:, 4:6] = words(self._causes)
        found.view(np.float64)[:, 1 + _HEAD + 5] = self._stretch.prices
        return found.tobytes()

    @property
    def _signals(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        high, low = ids_after(self._bot, self._causes)
        return high, low

    @property
    def _causes(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Ids of what the signals were made of."""
        feeds = halves(self._ids[self.of.said.rows])
        bars, of_bar = ids_after(self._market, feeds), self._stretch.of_bar
        return np.where(of_bar, bars[0], feeds[0]), np.where(of_bar, bars[1], feeds[1])

    def _days(self, ts: Ints) -> NDArray[np.int64]:
        return super()._days(ts + 1)  # a trade at midnight belongs to the day that begins

    def _markets(self, rows: Ints) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """The account's fills are caused by the feed's own messages."""
        return halves(self._ids[rows])
