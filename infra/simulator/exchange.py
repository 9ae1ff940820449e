"""What happens on the exchange: prices, trades, candles and books, each a pure function of seed, pair and minute.

A minute is named by its number since 1970; minute m lasts from m * 60 s up to, not including, (m + 1) * 60 s.
"""

from __future__ import annotations

from itertools import accumulate
from operator import mul

import numpy as np
from numpy.typing import NDArray

from events.block import Columns, Floats, Ints, candles
from events.market import Book, Candle
from events.timeframe import MINUTE

from .chance import key, uniform
from .pairs import VENUE, Pair, pair
from .settings import SimulatorSettings

# Without trades for longer than this there is one all the same, so that the last price is never far to seek.
SILENCE_MAX = 16
LEVELS = 10
TRADES_MAX = 10_000  # a minute; ids and counters are spaced by it
SLOT_MS = 59_998  # trades of a minute are stamped from its first to its last but one millisecond
_OCTAVES = 13  # the longest swing is 2^13 minutes, nearly six days
_PERIODS = 2 ** np.arange(1, _OCTAVES + 1, dtype=np.int64)[:, None]
# Each swing is 2^0.65 times as high as the one of half its length: more than in a random walk, so that trends last.
_HEIGHTS = np.array([[height] for height in accumulate([1.5691681957935015] * _OCTAVES, mul)])


class Trades:
    """Trades in order, as columns. `starts[i]` to `starts[i + 1]` are those of the i-th minute asked for.

    `ts` in µs, `ticks` and `lots` whole steps of price and quantity, `buys` the taker's side, `ids` increasing.
    """

    __slots__ = ("buys", "ids", "lots", "starts", "ticks", "ts")

    def __init__(self, starts: Ints, ts: Ints, ticks: Ints, lots: Ints, buys: NDArray[np.bool_], ids: Ints) -> None:
        self.starts, self.ts, self.ticks, self.lots, self.buys, self.ids = starts, ts, ticks, lots, buys, ids


def drift(settings: SimulatorSettings, one: Pair, minutes: Ints) -> Floats:
    """The log of price over base at the start of each minute: noise in octaves (value noise), which looks like
    a random walk with trends that always comes back."""
    keys = np.array([[key(settings.seed, one.symbol, "path", n)] for n in range(_OCTAVES)], np.uint64)
    places = minutes[None, :] + (keys % np.uint64(2**40)).astype(np.int64)
    cells, within = places // _PERIODS, (places % _PERIODS) / _PERIODS
    before, after = uniform(keys, cells), uniform(keys, cells + 1)
    smooth = within * within * (3.0 - 2.0 * within)
    swings = (before + (after - before) * smooth - 0.5) * _HEIGHTS
    total = np.zeros(len(minutes))
    for swing in swings:  # in this order, so that no summation strategy can change a bit
        total = total + swing
    return total * (1.6 * one.volatility)


def _grown(logs: Floats) -> Floats:
    """exp by 4,096 compounded steps: multiplications alone, which every platform rounds alike."""
    grown = 1.0 + logs / 4096.0
    for _ in range(12):
        grown = grown * grown
    return grown


def counts(settings: SimulatorSettings, one: Pair, minutes: Ints) -> Ints:
    """How many trades each minute has."""
    seed, symbol = settings.seed, one.symbol
    mood = uniform(key(seed, symbol, "mood"), minutes // 30) + uniform(key(seed, symbol, "hurry"), minutes)
    mean = settings.activity * one.share * (0.3 + 0.7 * mood)
    found: Ints = (mean + uniform(key(seed, symbol, "count"), minutes)).astype(np.int64)
    due = (minutes + key(seed, symbol, "due") % SILENCE_MAX) % SILENCE_MAX == 0
    found = np.maximum(found, due)
    return found.clip(max=TRADES_MAX)


def trades(settings: SimulatorSettings, symbol: str, minutes: Ints) -> Trades:
    """The trades of some minutes, in order. They walk from each minute's price to the next one's, on the tick."""
    one = pair(symbol)
    seed = settings.seed
    many = counts(settings, one, minutes)
    starts = np.concatenate([[0], np.cumsum(many)])
    row = np.repeat(np.arange(len(minutes)), many)
    place = np.arange(starts[-1]) - starts[row]
    ids = minutes[row] * TRADES_MAX + place
    chance = {name: uniform(key(seed, symbol, name), ids) for name in ("when", "noise", "side", "size")}
    at = (place + chance["when"]) / many[row]
    here, there = drift(settings, one, minutes), drift(settings, one, minutes + 1)
    logs = here[row] + (there - here)[row] * at + (chance["noise"] - 0.5) * one.volatility
    buys = chance["side"] < 0.5
    ticks = np.floor(one.base * 10.0**one.price_digits * _grown(logs)).astype(np.int64) + buys
    u = chance["size"]
    size = 0.1 + u + 5.0 * u * u * u * u * u * u * u * u  # a few large ones among many small ones
    lots = np.maximum(1, (one.notional / one.base * 10.0**one.lot_digits * size).astype(np.int64))
    ts = minutes[row] * MINUTE + (1 + (at * SLOT_MS).astype(np.int64)) * 1000
    return Trades(starts, ts, np.maximum(ticks, 1), lots, buys, ids)


def columns(settings: SimulatorSettings, symbol: str, first: int, end: int) -> Columns:
    """The exchange's own candles of the minutes from `first` up to, not including, `end`; flat without trades."""
    one = pair(symbol)
    lead = min(SILENCE_MAX, first)
    minutes = np.arange(first - lead, end, dtype=np.int64)
    found = trades(settings, symbol, minutes)
    busy = np.flatnonzero(np.diff(found.starts))
    at = found.starts[busy]
    latest = np.searchsorted(busy, np.arange(len(minutes)), "right") - 1
    close = found.ticks[found.starts[busy + 1] - 1][latest]
    opened, high, low = close.copy(), close.copy(), close.copy()
    volume, count = np.zeros(len(minutes), np.int64), np.diff(found.starts)
    opened[busy] = found.ticks[at]
    high[busy] = np.maximum.reduceat(found.ticks, at)
    low[busy] = np.minimum.reduceat(found.ticks, at)
    volume[busy] = np.add.reduceat(found.lots, at)
    # Whole steps divided by a power of ten: the double nearest to the decimal, which is how an exchange writes it.
    o, h, l, c = (steps[lead:] / 10.0**one.price_digits for steps in (opened, high, low, close))
    return Columns((minutes[lead:] + 1) * MINUTE, o, h, l, c, volume[lead:] / 10.0**one.lot_digits, count[lead:])


def candle(settings: SimulatorSettings, symbol: str, minute: int) -> Candle:
    """The exchange's own candle of one minute."""
    return next(candles(VENUE, symbol, "1m", columns(settings, symbol, minute, minute + 1)))


def depths(settings: SimulatorSettings, one: Pair, minutes: Ints) -> list[list[float]]:
    """What the book of each minute is made of: chances, for `book`."""
    places = minutes[:, None] * 100 + np.arange(4 * LEVELS)
    found: list[list[float]] = uniform(key(settings.seed, one.symbol, "book"), places).tolist()
    return found


def book(one: Pair, ts: int, ticks: int, bought: bool, depth: list[float]) -> Book:
    """The ten best levels on either side, where the last trade was at `ticks`, on the taker's side."""
    spread = 1 + int(2 * depth[0])
    bid, ask = (ticks - spread, ticks) if bought else (ticks, ticks + spread)
    price, lot = 10.0**one.price_digits, 10.0**one.lot_digits
    step = one.base * price * one.volatility / 20
    typical = one.notional / one.base * lot
    sides = []
    for at, sign, chances in ((bid, -1, depth[: 2 * LEVELS]), (ask, 1, depth[2 * LEVELS :])):
        levels = []
        for level in range(LEVELS):
            lots = int(typical * (0.2 + chances[level]) * (1 + level / 2)) or 1
            levels.append((at / price, lots / lot))
            at += sign * (1 + int(step * chances[LEVELS + level]))
        sides.append(tuple(levels))
    return Book(VENUE, one.symbol, ts, *sides)
