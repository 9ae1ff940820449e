"""Every recorded market file of a kind that is read: what the importer reports is what the manifest measured."""

import csv
import functools
import gzip
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from infra.importers import Columns, Imported, ImportError_, TradeColumns, read
from tests import data

DATA = Path(os.environ.get("TICKERTAPE_DATA") or data.ROOT)
Row = dict[str, str]


@functools.cache
def manifest() -> tuple[Row, ...]:
    path = DATA / "MANIFEST.csv"
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["rows"]]
    return tuple(row for row in rows if not row["path"].startswith(("orderbook/", "exchange_fixtures/")))


def named(row: Row) -> str:
    return row["path"]


def funding(row: Row) -> bool:
    return "funding_rate" in row["path"]


CANDLES = [row for row in manifest() if row["gaps"]]
OTHERS = [row for row in manifest() if not row["gaps"] and not funding(row)]
TICKS = ("/tick/", "/trades/", "ticks.csv", "trades")


def figure(row: Row, name: str) -> int:
    return int(float(row[name]))


def first_open(imported: Imported, row: Row) -> tuple[int, int]:
    """The first stamp as the source wrote it (UTC-5 sources: five hours earlier on its clock), and the manifest's."""
    report = imported.report
    assert report.first_ts is not None
    wall = report.first_ts - (report.timeframe_us or 0)
    wall -= 5 * 3_600_000_000 if report.timezone.value == "EST" else 0
    stamp = datetime.fromisoformat(row["first"]).replace(tzinfo=UTC)
    return wall // 1_000_000, int(stamp.timestamp())


def test_there_is_a_manifest() -> None:
    data.path("MANIFEST.csv")
    assert len(CANDLES) > 150
    assert len(OTHERS) > 30


@pytest.mark.parametrize("row", CANDLES, ids=named)
def test_candle_files_are_what_the_manifest_says(row: Row) -> None:
    imported = read(data.path(row["path"]))
    report = imported.report
    assert isinstance(imported.data, Columns)
    # Kraken's REST reply ends with the candle still being made: it is a row, and refused.
    unfinished = 1 if row["path"].endswith("http_ohlc.json") else 0
    assert [reject.reason for reject in imported.rejects] == ["unfinished"] * unfinished
    assert report.rows == figure(row, "rows")
    assert report.accepted == report.rows - unfinished
    assert report.duplicates == figure(row, "dup")
    assert report.out_of_order == figure(row, "ooo")
    assert report.timeframe_us == figure(row, "step") * 1_000_000
    assert (report.gaps, report.missing) == (figure(row, "gaps"), figure(row, "missing"))
    wall, stamp = first_open(imported, row)
    assert wall == stamp
    if row["zero_vol"]:
        assert int((imported.data.volume == 0).sum()) == figure(row, "zero_vol")


@pytest.mark.parametrize("row", OTHERS, ids=named)
def test_files_without_a_step_have_the_manifests_rows(row: Row) -> None:
    """The manifest's dup counts equal stamps. Ticks may share one, so there it is not the number of duplicates."""
    imported = read(data.path(row["path"]))
    report = imported.report
    assert report.rows == report.accepted == figure(row, "rows")
    assert report.out_of_order == figure(row, "ooo")
    assert report.duplicates == 0
    ts = imported.data.ts
    if report.kind == "candles":
        assert report.stamps is not None
        wall, stamp = first_open(imported, row)
        assert wall == stamp
    else:
        assert any(mark in f"/{row['path']}" for mark in TICKS)
        assert int((np.diff(ts) == 0).sum()) >= figure(row, "dup")


@pytest.mark.parametrize("row", [row for row in manifest() if funding(row)], ids=named)
def test_funding_rates_are_not_taken_for_candles(row: Row) -> None:
    with pytest.raises(ImportError_, match="funding rates"):
        read(data.path(row["path"]))


def test_the_same_candles_in_feather_and_json_are_the_same_columns() -> None:
    folder = "crypto_klines/freqtrade_testdata"
    one = read(data.path(f"{folder}/UNITTEST_BTC-1m.feather")).data
    two = read(data.path(f"{folder}/UNITTEST_BTC-1m.json.gz")).data
    assert isinstance(one, Columns)
    assert isinstance(two, Columns)
    assert np.array_equal(one.ts, two.ts)
    for name in ("open", "high", "low", "close", "volume"):
        # The feather file was written through a number parser that is off by a unit in the last place or two.
        assert np.allclose(getattr(one, name), getattr(two, name), rtol=5e-16, atol=0), name


def test_json_numbers_are_the_nearest_doubles() -> None:
    path = data.path("crypto_klines/freqtrade_testdata/UNITTEST_BTC-1m.json.gz")
    table = json.loads(gzip.decompress(path.read_bytes()))
    columns = read(path).data
    assert isinstance(columns, Columns)
    assert columns.close.tolist() == [row[4] for row in table]
    assert columns.volume.tolist() == [row[5] for row in table]


def test_fxcm_and_oanda_minutes_agree_only_when_fxcm_is_five_hours_behind_utc() -> None:
    """What the zone of Lean's FXCM files rests on: the two brokers' closes of the same minutes."""
    folder = "forex_metals/lean_zip/forex"
    day = "minute/eurusd/20140506_quote.zip"
    oanda = read(data.path(f"{folder}/oanda/{day}")).data
    errors = {}
    for zone in ("EST", "America/New_York", "UTC", "-06:00"):
        fxcm = read(data.path(f"{folder}/fxcm/{day}"), timezone=zone).data
        assert isinstance(oanda, Columns)
        assert isinstance(fxcm, Columns)
        _, i, j = np.intersect1d(fxcm.ts, oanda.ts, return_indices=True)
        apart = fxcm.close[i] - oanda.close[j]
        errors[zone] = float(np.abs(apart - np.median(apart)).mean())
    assert min(errors, key=lambda zone: errors[zone]) == "EST"
    # Half a tenth of a pip against several pips; measured 0.000013 against 0.0003 and more.
    assert errors["EST"] < 5e-5 < 1e-4 < min(error for zone, error in errors.items() if zone != "EST")


def test_trades_have_sides_and_ids_where_the_source_has_them() -> None:
    trades = read(data.path("trades/kraken_rest_xbtusdt_2025-11-10/http_trades.json")).data
    assert isinstance(trades, TradeColumns)
    assert set(trades.side.tolist()) == {-1, 1}
    assert trades.id[0] == "10218208"
    assert trades.ts[0] == 1_762_795_433_971_744  # 1762795433.9717445 s, to the nearest µs (halves to even)
    feather = read(data.path("trades/binance_xrpeth_2019_freqtrade/XRP_ETH-trades.feather")).data
    assert isinstance(feather, TradeColumns)
    assert feather.id[0] == "13519807"
    assert feather.side[0] == -1
    without = read(data.path("trades/kraken_csv_freqtrade/BCHEUR.csv"))
    assert isinstance(without.data, TradeColumns)
    assert set(without.data.id) == {""}
    assert set(without.data.side.tolist()) == {0}


def test_trades_make_the_exchanges_own_minutes() -> None:
    """Ids, sides and order aside, the columns are right: they fold to the bars that the exchange published."""
    folder = "trades/binance_xrpeth_2019_freqtrade"
    trades = read(data.path(f"{folder}/XRP_ETH-trades.feather")).data
    bars = read(data.path(f"{folder}/XRP_ETH-1m.feather")).data
    assert isinstance(trades, TradeColumns)
    assert isinstance(bars, Columns)
    closes = (trades.ts // 60_000_000 + 1) * 60_000_000
    starts = np.flatnonzero(np.concatenate(([True], np.diff(closes) > 0)))
    assert np.array_equal(closes[starts], bars.ts)
    assert np.array_equal(np.maximum.reduceat(trades.price, starts), bars.high)
    assert np.array_equal(np.minimum.reduceat(trades.price, starts), bars.low)
    assert np.array_equal(trades.price[starts], bars.open)
