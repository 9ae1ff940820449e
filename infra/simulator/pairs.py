"""The pairs of the simulated exchange, the most liquid first."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

VENUE = "sim"


class Pair(NamedTuple):
    """`base`: the price around which it moves. `price_digits`, `lot_digits`: decimals of its tick and lot.

    `volatility`: typical move of the log price in a minute. `share`: trades, as a part of the most liquid pair's.
    `notional`: what a middling trade is worth, in quote currency.
    """

    symbol: str
    base: float
    price_digits: int
    lot_digits: int
    volatility: float
    share: float
    notional: float


PAIRS: tuple[Pair, ...] = (
    Pair("BTC-USDT", 68_000.0, 2, 5, 0.00072, 1.0, 40_000.0),
    Pair("ETH-USDT", 3_500.0, 2, 4, 0.00087, 0.85, 30_000.0),
    Pair("SOL-USDT", 165.0, 2, 3, 0.0013, 0.62, 22_500.0),
    Pair("BNB-USDT", 590.0, 2, 3, 0.00087, 0.48, 20_000.0),
    Pair("XRP-USDT", 0.58, 4, 0, 0.00116, 0.40, 17_500.0),
    Pair("DOGE-USDT", 0.14, 5, 0, 0.00145, 0.32, 12_500.0),
    Pair("ADA-USDT", 0.45, 4, 1, 0.00116, 0.27, 10_000.0),
    Pair("AVAX-USDT", 36.0, 2, 2, 0.00145, 0.23, 8_750.0),
    Pair("LINK-USDT", 15.5, 3, 2, 0.0013, 0.20, 8_000.0),
    Pair("DOT-USDT", 6.8, 3, 2, 0.00116, 0.18, 7_250.0),
    Pair("TRX-USDT", 0.125, 5, 1, 0.00072, 0.16, 6_500.0),
    Pair("LTC-USDT", 83.0, 2, 3, 0.00102, 0.145, 6_000.0),
    Pair("BCH-USDT", 440.0, 1, 3, 0.00116, 0.13, 5_500.0),
    Pair("SUI-USDT", 1.1, 4, 1, 0.00174, 0.115, 5_000.0),
    Pair("UNI-USDT", 9.5, 3, 2, 0.00145, 0.10, 4_500.0),
    Pair("NEAR-USDT", 6.2, 3, 1, 0.0016, 0.088, 4_000.0),
    Pair("APT-USDT", 8.9, 3, 2, 0.0016, 0.077, 3_750.0),
    Pair("ATOM-USDT", 8.2, 3, 2, 0.0013, 0.068, 3_500.0),
    Pair("XLM-USDT", 0.11, 5, 0, 0.00116, 0.060, 3_000.0),
    Pair("FIL-USDT", 5.7, 3, 2, 0.00145, 0.053, 2_750.0),
    Pair("ARB-USDT", 0.98, 4, 1, 0.00174, 0.047, 2_500.0),
    Pair("OP-USDT", 2.2, 4, 2, 0.00174, 0.041, 2_250.0),
    Pair("ETC-USDT", 26.0, 2, 2, 0.0013, 0.033, 2_000.0),
    Pair("AAVE-USDT", 92.0, 2, 3, 0.0016, 0.026, 1_750.0),
    Pair("ALGO-USDT", 0.17, 4, 0, 0.0013, 0.019, 1_500.0),
)


@cache
def pair(symbol: str) -> Pair:
    """Raises KeyError with the pairs there are."""
    for one in PAIRS:
        if one.symbol == symbol:
            return one
    raise KeyError(f"the simulated exchange has no {symbol}; it has {', '.join(one.symbol for one in PAIRS)}")
