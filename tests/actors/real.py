"""Small readers of recorded market data, independent of the importers: stamps become close times in µs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from events.block import Columns
from events.market import Trade
from events.timeframe import micros
from tests import data

FUTURES = "crypto_klines/binance_usdm_futures_2025_freqtrade_feather"
KRAKEN = "exchange_fixtures/nautilus_adapters/kraken"
XRPETH = "trades/binance_xrpeth_2019_freqtrade"


def feather(name: str, timeframe: str) -> Columns:
    """A candle file of freqtrade, whose stamps are open times."""
    table = pd.read_feather(data.path(name))
    ts = table["date"].astype("datetime64[us, UTC]").astype("int64").to_numpy() + micros(timeframe)
    o, h, l, c, v = (table[column].to_numpy() for column in ("open", "high", "low", "close", "volume"))
    return Columns(ts, o, h, l, c, v)


def futures(coin: str, timeframe: str) -> Columns:
    return feather(f"{FUTURES}/{coin}_USDT_USDT-{timeframe}-futures.feather", timeframe)


def kraken(minutes: int) -> Columns:
    """Kraken's XBTUSDC bars of one length: seconds of the open, o, h, l, c, v, trades."""
    name = f"crypto_klines/kraken_2023Q1_sparse_csv/XBTUSDC_{minutes}.csv.gz"
    table = pd.read_csv(data.path(name), header=None)
    ts = (table[0].to_numpy() + minutes * 60) * 1_000_000
    o, h, l, c, v = (table[column].to_numpy(np.float64) for column in range(1, 6))
    return Columns(ts, o, h, l, c, v, table[6].to_numpy())


def _result(name: str) -> list[Any]:
    result = json.loads(data.path(f"{KRAKEN}/{name}").read_text())["result"]
    found: list[Any] = next(value for key, value in result.items() if key != "last")
    return found


def kraken_trades(venue: str, symbol: str) -> list[Trade]:
    sides = {"b": "buy", "s": "sell"}
    return [
        Trade(venue, symbol, round(ts * 1e6), float(price), float(qty), sides[side], str(number))
        for price, qty, ts, side, _, _, number in _result("http_trades.json")
    ]


def kraken_ohlc() -> Columns:
    """One-minute bars: seconds of the open, o, h, l, c, vwap, v, trades. The last one was still open then."""
    rows = _result("http_ohlc.json")[:-1]
    ts = np.array([row[0] + 60 for row in rows]) * 1_000_000
    o, h, l, c, v = (np.array([float(row[column]) for row in rows]) for column in (1, 2, 3, 4, 6))
    return Columns(ts, o, h, l, c, v, np.array([row[7] for row in rows]))


def xrpeth_trades(venue: str, symbol: str) -> list[Trade]:
    table = pd.read_feather(data.path(f"{XRPETH}/XRP_ETH-trades.feather"))
    columns = (table[name].tolist() for name in ("timestamp", "price", "amount", "side", "id"))
    return [
        Trade(venue, symbol, ts * 1000, price, qty, side, number)
        for ts, price, qty, side, number in zip(*columns, strict=True)
    ]


def xrpeth(timeframe: str) -> Columns:
    return feather(f"{XRPETH}/XRP_ETH-{timeframe}.feather", timeframe)
