"""Strategies that want something at random of the trades and candles they hear, and trades to show them."""

from __future__ import annotations

import numpy as np

from actors.strategies import Position, Strategy, Target
from events.market import Candle, Trade
from events.timeframe import MINUTE, SECOND
from infra.store.trades import Ids, Trades
from tests.infra.columnar import Dice

START = 1_700_000_000_000_000 // MINUTE * MINUTE


class Ticking(Dice):
    """Dice thrown on every trade as well as on every candle."""

    def __init__(self, seed: int, rare: int = 40, **rest: object) -> None:
        super().__init__(seed, **rest)  # type: ignore[arg-type]
        self.rare, self.trades, self.last = rare, 0, 0.0

    def on_trade(self, trade: Trade, position: Position) -> Target | None:
        self.trades += 1
        self.last = trade.price
        number = (trade.ts * 2_654_435_761 + self.seed) % 2**32 >> 7
        if number % self.rare:
            return None
        like = Candle(trade.venue, trade.symbol, "1m", trade.ts * 60_000_000, *([trade.price] * 4), trade.qty)
        return self._wish(like)[0]


class Scalper(Strategy):
    """Hears trades only: buys what falls from the mean, and sells what rises above it."""

    def __init__(self, weight: float = 0.05, away: float = 0.002) -> None:
        self.weight, self.away, self.mean = weight, away, 0.0

    def on_trade(self, trade: Trade, position: Position) -> Target | None:
        price = trade.price
        self.mean += (price - self.mean) * self.weight if self.mean else price
        if not position and price < self.mean * (1 - self.away):
            return Target(1.0, stop=price * 0.99, reasons=("below the mean",))
        if position and price > self.mean * (1 + self.away):
            return Target(0.0)
        return None


def walk(
    seed: int,
    rows: int,
    *,
    a_minute: float = 6.0,
    garbage: bool = False,
    again: bool = False,
    disorder: bool = False,
    gaps: bool = False,
    same: bool = False,
    ids: str = "rising",
) -> Trades:
    """A random walk on the cent, about so many trades a minute.

    `garbage`: trades that no symbol accepts, and leaps; `again`: some come twice; `disorder`: some come late; `gaps`:
    hours without trades; `same`: several of one microsecond. `ids`: `rising` numbers, `none`, or `text`.
    """
    random = np.random.default_rng(seed)
    price = np.round(np.maximum(100 + np.cumsum(np.round(random.normal(0, 0.05, rows), 2)), 1), 2)
    qty = np.round(random.exponential(1, rows), 3)
    step = random.exponential(60 * SECOND / a_minute, rows).astype(np.int64)
    if same:
        step[random.random(rows) < 0.3] = 0
    if gaps:
        step[random.random(rows) < 0.01] += 26 * 60 * MINUTE if seed % 3 == 0 else 7 * MINUTE
    ts = START + np.cumsum(step)
    on_the_minute = random.random(rows) < 0.02
    ts = np.where(on_the_minute, ts - ts % MINUTE, ts)
    ts = np.maximum.accumulate(ts)
    if garbage:
        price = np.where(random.random(rows) < 0.02, -price, price)
        price = np.where(random.random(rows) < 0.01, price * 3, price)
        qty = np.where(random.random(rows) < 0.02, np.nan, qty)
        ts = np.where(random.random(rows) < 0.01, ts * 3, ts)
    names = {
        "rising": [str(10**9 + n) for n in range(rows)],
        "none": [""] * rows,
        "text": [f"t{n}" for n in range(rows)],
    }[ids]
    side = random.integers(-1, 2, rows).astype(np.int8)
    order = np.arange(rows)
    if disorder:
        order = np.argsort(order + np.where(random.random(rows) < 0.05, random.integers(0, 12, rows), 0), kind="stable")
    if again:
        order = (
            np.sort(np.concatenate((order, order[random.random(rows) < 0.04])), kind="stable")
            if not disorder
            else (np.repeat(order, np.where(random.random(rows) < 0.04, 2, 1)))
        )
        order = order[:rows]
    return Trades(ts[order], price[order], qty[order], side[order], Ids.of([names[n] for n in order]))
