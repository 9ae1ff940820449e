"""The two data sets of the benchmark, what the work must come to on them, and the long one made from the second."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from scripts.bench.work import ROOT, Oracle

FOLDER = Path(os.environ.get("TICKERTAPE_BENCH_DATA") or ROOT.parent / "shared" / "bench" / "data")
CACHE = ROOT / ".tape" / "bench"
"""Made files and reports of measured runs; ignored by git."""

TILES = 20
LONG_START = 978_307_200_000
"""2001, in ms: from there on, ten million minutes end before today, which importers insist on."""


class Market(msgspec.Struct, frozen=True):
    """1-minute candles: Parquet with timestamp (ms UTC, open time), open, high, low, close, volume."""

    name: str
    symbol: str
    oracle: Oracle | None

    @property
    def path(self) -> Path:
        return CACHE / f"{LONG}-2001.parquet" if self.name == LONG else FOLDER / f"{self.name}.parquet"

    @property
    def spec(self) -> str:
        return f"{self.path}=bench/{self.symbol}@1m"


LONG = "xau10m"
TRADES = "eth-trades"
ETH = Market("eth60k", "ETH-USDT", Oracle(1_403, -6_394.9524))
XAU = Market("xau500k", "XAU-USD", Oracle(11_489, -29_520.3352))
LONG_XAU = Market(LONG, "XAU-USD", None)
MARKETS = {one.name: one for one in (ETH, XAU, LONG_XAU)}


def ensure_long() -> Path:
    """Ten million rows: the gold candles 20 times on one minute grid, every second time backward, so that no price
    jumps where two tiles meet. Written once."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = LONG_XAU.path
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    tile = pq.read_table(XAU.path, columns=["timestamp", "open", "high", "low", "close", "volume"])
    count, first = tile.num_rows, LONG_START
    backward = tile.take(pa.array(range(count - 1, -1, -1)))
    backward = backward.select(["timestamp", "close", "high", "low", "open", "volume"]).rename_columns(
        tile.schema.names
    )
    stamps = pa.array(range(first, first + count * 60_000, 60_000))
    beside = path.with_suffix(f".{os.getpid()}")
    with pq.ParquetWriter(beside, tile.schema) as writer:
        for number in range(TILES):
            rows = tile if number % 2 == 0 else backward
            writer.write_table(rows.set_column(0, tile.schema.field(0), pc.add(stamps, number * count * 60_000)))
    beside.replace(path)
    return path


TRADES_PATH = CACHE / f"{TRADES}.feather"
TRADES_SPEC = f"{TRADES_PATH}=bench/ETH-USDT"


def ensure_trades() -> Path:
    """240,764 trades: every candle of eth60k as four, at its open, both extremes, the nearer one first, and its close,
    15 seconds apart. Written once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import feather

    if TRADES_PATH.exists():
        return TRADES_PATH
    TRADES_PATH.parent.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(ETH.path)
    start, first, high, low, last, volume = (
        table[name].to_numpy() for name in ("timestamp", "open", "high", "low", "close", "volume")
    )
    down = first - low <= high - first
    prices = np.stack([first, np.where(down, low, high), np.where(down, high, low), last], axis=1).ravel()
    stamps = (start[:, None] + np.array([0, 15_000, 30_000, 45_000])).ravel()
    amount = np.round(np.maximum(np.repeat(volume, 4) / 4, 0.001), 3)
    side = np.where(np.diff(prices, prepend=prices[0]) >= 0, "buy", "sell")
    columns = {"timestamp": stamps, "id": pa.array(range(len(stamps))).cast(pa.string()), "side": side,
               "price": prices, "amount": amount, "cost": prices * amount}  # fmt: skip
    beside = TRADES_PATH.with_suffix(f".{os.getpid()}")
    feather.write_feather(pa.table(columns), str(beside))
    beside.replace(TRADES_PATH)
    return TRADES_PATH


if __name__ == "__main__":
    ensure_long() if sys.argv[1] == LONG else ensure_trades()
