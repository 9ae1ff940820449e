"""Bars in the making, and volumes that add up exactly."""

from __future__ import annotations

from decimal import Context, Decimal
from itertools import pairwise
from typing import TypeAlias

import msgspec
import numpy as np

from events.block import Floats, Ints
from events.market import Candle, CandleBackfilled, CandleRevised, Trade

AnyCandle: TypeAlias = Candle | CandleBackfilled | CandleRevised

# A double prints as the shortest decimal that reads back as it: what the venue wrote, up to 15 digits. Adding those
# decimals and rounding once to a double at the end gives the very double of the venue's own total, in any order of
# additions and without knowing the lot. 60 digits hold sums of anything between 1e-40 and 1e18.
_EXACT = Context(prec=60)
ZERO = Decimal(0)


def exact(number: float) -> Decimal:
    """The decimal that was written."""
    return Decimal(repr(number))


class Bar(msgspec.Struct):
    """What is known so far of one bar: `first` and `last` are the stamps behind its open and its close."""

    first: int
    last: int
    open: float
    high: float
    low: float
    close: float
    volume: Decimal
    count: int | None

    def plus(self, part: Bar) -> Bar:
        """A new bar with a part taken in, in whatever order the parts come."""
        early, late = part.first < self.first, part.last >= self.last
        return Bar(
            part.first if early else self.first,
            part.last if late else self.last,
            part.open if early else self.open,
            part.high if part.high > self.high else self.high,
            part.low if part.low < self.low else self.low,
            part.close if late else self.close,
            _EXACT.add(self.volume, part.volume),
            None if self.count is None or part.count is None else self.count + part.count,
        )

    def take(self, trade: Trade) -> None:
        """Trades of one microsecond stand in the order in which they came."""
        ts, price = trade.ts, trade.price
        if ts < self.first:
            self.first, self.open = ts, price
        if ts >= self.last:
            self.last, self.close = ts, price
        if price > self.high:
            self.high = price
        if price < self.low:
            self.low = price
        self.volume = _EXACT.add(self.volume, exact(trade.qty))
        self.count = self.count + 1 if self.count is not None else None


def of_trade(trade: Trade) -> Bar:
    price = trade.price
    return Bar(trade.ts, trade.ts, price, price, price, price, exact(trade.qty), 1)


def of_candle(c: AnyCandle) -> Bar:
    return Bar(c.ts, c.ts, c.open, c.high, c.low, c.close, exact(c.volume), c.count)


def totals(volume: Floats, starts: Ints) -> list[Decimal]:
    """The exact sum of each group of rows, the groups beginning at `starts`.

    Tried as integers of 10^-d first: where k / 10^d gives every double back and k has at most 15 digits, k is what
    was written, and int64 sums are exact. Else row by row.
    """
    for digits in range(13):
        scale = 10.0**digits
        scaled = np.rint(volume * scale)
        if scaled.size and float(scaled.max()) * scaled.size >= 9e18:
            break
        if bool((scaled / scale == volume).all()) and float(scaled.max(initial=0.0)) < 1e15:
            sums = np.add.reduceat(scaled.astype(np.int64), starts).tolist()
            return [Decimal(whole).scaleb(-digits, _EXACT) for whole in sums]
    numbers = volume.tolist()
    found = []
    for start, end in pairwise([*starts.tolist(), len(volume)]):
        total = ZERO
        for number in numbers[start:end]:
            total = _EXACT.add(total, exact(number))
        found.append(total)
    return found
