"""Every format: recognised by content, its zone and stamps turned into closes in UTC, its prices as written."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from infra.importers import FORMATS, Columns, ImportError_, QuoteColumns, TradeColumns, read
from infra.importers.model import Imported
from tests.infra.importing import ISO, NOW, OHLC, SAMPLES, Sample, binance, gz, rows, stamped, text_of, zipped

JANUARY = 1_704_067_200_000_000
MINUTE = 60_000_000
HOUR = 60 * MINUTE


def put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def candles(imported: Imported) -> Columns:
    assert isinstance(imported.data, Columns)
    return imported.data


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.format}-{sample.name}")
def test_a_format_is_recognised_by_its_content(sample: Sample, tmp_path: Path) -> None:
    imported = read(put(tmp_path, sample.name, sample.content), now=NOW)
    report = imported.report
    assert (report.format, report.kind, report.rejected) == (sample.format, sample.kind, 0)
    assert report.rows == report.accepted == 12
    assert report.first_ts is not None
    if sample.kind == "candles":
        assert report.timeframe is not None
        data = candles(imported)
        if sample.format != "fxcm":
            assert np.array_equal(np.stack([data.open, data.high, data.low, data.close]).T, [row[:4] for row in rows()])
        assert report.first_ts == JANUARY + (report.timeframe_us or 0) + (
            5 * HOUR if report.format == "histdata-m1" else 0
        )


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.format}-{sample.name}")
@pytest.mark.parametrize("pack", ["gz", "zip"])
def test_packed_files_give_the_same_columns(sample: Sample, pack: str, tmp_path: Path) -> None:
    plain = read(put(tmp_path, sample.name, sample.content), now=NOW)
    content = gz(sample.content) if pack == "gz" else zipped(sample.name, sample.content)
    packed = read(put(tmp_path, f"{sample.name}.{pack}", content), now=NOW)
    assert np.array_equal(packed.data.ts, plain.data.ts)
    assert packed.report.format == plain.report.format


def test_every_format_has_a_sample_or_a_real_file() -> None:
    real = {"feather", "parquet"}
    assert {format.name for format in FORMATS} == {sample.format for sample in SAMPLES} | real


def test_binance_milliseconds_and_microseconds_are_the_same_candles(tmp_path: Path) -> None:
    one = candles(read(put(tmp_path, "a.csv", binance()), now=NOW))
    two = candles(read(put(tmp_path, "b.csv", binance(1_000_000, header=True)), now=NOW))
    assert np.array_equal(one.ts, two.ts)
    assert one.ts[0] == JANUARY + MINUTE
    assert one.count is not None
    assert one.count.tolist() == list(range(12))


def test_binance_close_times_tell_the_zone_of_written_open_times(tmp_path: Path) -> None:
    lines = []
    for i, (o, h, l, c, v) in enumerate(rows()):
        local = datetime.fromtimestamp(JANUARY // 10**6 + i * 60 + 3 * 3600, UTC).strftime(ISO)
        close = JANUARY // 1000 + (i + 1) * 60_000 - 1
        lines.append(f"{local},{o},{h},{l},{c},{v},{close},1,{i},1,1,0")
    imported = read(put(tmp_path, "a.csv", text_of(lines)), now=NOW)
    assert str(imported.report.timezone) == "+03:00 (detected)"
    assert imported.report.first_ts == JANUARY + MINUTE


def test_histdata_has_no_summer_time(tmp_path: Path) -> None:
    lines = [f"201807{day:02d} 170000;1.1;1.2;1.0;1.1;0" for day in (2, 3, 4)]
    lines.insert(1, "20180702 170100;1.1;1.2;1.0;1.1;0")
    imported = read(put(tmp_path, "a.csv", text_of(lines)), now=NOW)
    assert imported.report.first_ts == micros("2018-07-02 22:01:00")
    assert str(imported.report.timezone) == "EST (detected)"


def test_metatrader_says_that_the_servers_zone_is_not_in_the_file(tmp_path: Path) -> None:
    path = put(tmp_path, "EURUSD1.csv", stamped("%Y.%m.%d,%H:%M", "{at},{o},{h},{l},{c},{i}"))
    assumed = read(path, now=NOW)
    assert str(assumed.report.timezone) == "UTC (assumed)"
    assert any("server time" in note for note in assumed.report.notes)
    stated = read(path, now=NOW, timezone="Europe/Athens")
    assert str(stated.report.timezone) == "Europe/Athens (stated)"
    assert stated.report.first_ts == JANUARY + MINUTE - 2 * HOUR


def test_lean_equity_prices_are_ten_thousandths_in_new_york(tmp_path: Path) -> None:
    minute = text_of(["34200000,1714300,1714500,1714200,1714400,1000", "34260000,1714400,1714400,1714400,1714400,50"])
    path = put(tmp_path, "equity/usa/minute/spy/20131007_trade.zip", zipped("20131007_spy_minute_trade.csv", minute))
    imported = read(path, now=NOW)
    data = candles(imported)
    assert data.ts.tolist() == [micros("2013-10-07 13:31:00"), micros("2013-10-07 13:32:00")]
    assert data.open.tolist() == [171.43, 171.44]
    assert data.volume.tolist() == [1000.0, 50.0]
    daily = text_of([f"2013110{day} 00:00,1714300,1714500,1714200,1714400,10" for day in (1, 2, 3)])
    days = candles(read(put(tmp_path, "equity/usa/daily/spy.zip", zipped("spy.csv", daily)), now=NOW))
    # The clocks went back on 3 November 2013: that day had 25 hours and closed at New York's midnight.
    assert days.ts.tolist() == [micros(t) for t in ("2013-11-02 04:00", "2013-11-03 04:00", "2013-11-04 05:00")]


@pytest.mark.parametrize(("side", "close"), [("bid", 1.1), ("ask", 1.3), ("mid", 1.2), (None, 1.2)])
def test_a_file_with_bid_and_ask_gives_the_side_that_is_asked_for(
    side: str | None, close: float, tmp_path: Path
) -> None:
    lines = [f"{i * 60_000},1.1,1.2,1.0,1.1,5,1.3,1.4,1.2,1.3,6" for i in range(3)]
    path = put(
        tmp_path, "crypto/bybit/minute/x/20240101_quote.zip", zipped("20240101_x_minute_quote.csv", text_of(lines))
    )
    imported = read(path, now=NOW, side=side)  # type: ignore[arg-type]
    assert candles(imported).close.tolist() == pytest.approx([close] * 3, rel=1e-15)
    assert any((side or "mid (assumed)") in note for note in imported.report.notes)


def test_a_side_that_a_file_does_not_have_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImportError_, match="does not have bid candles"):
        read(put(tmp_path, "a.csv", binance()), now=NOW, side="bid")


def test_stamps_of_the_close_are_not_moved(tmp_path: Path) -> None:
    path = put(tmp_path, "data.csv", stamped(ISO, "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"))
    opens = read(path, now=NOW)
    closes = read(path, now=NOW, stamps="close")
    assert str(opens.report.stamps) == "open (assumed)"
    assert str(closes.report.stamps) == "close (stated)"
    assert np.array_equal(candles(opens).ts - MINUTE, candles(closes).ts)


def test_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    lines = ["Datum;Eröffnung;Hoch;Tief;Schluss"]
    lines += [
        f"{2 + i:02d}.01.2024 10:00;" + ";".join(f"{x:.2f}".replace(".", ",") for x in row[:4])
        for i, row in enumerate(OHLC)
    ]
    columns = {"ts": "Datum", "open": "Eröffnung", "high": "Hoch", "low": "Tief", "close": "Schluss"}
    imported = read(put(tmp_path, "kurse.csv", text_of(lines)), now=NOW, columns=columns, timezone="Europe/Berlin")
    assert candles(imported).high.tolist() == [row[1] for row in OHLC]
    assert imported.report.first_ts == micros("2024-01-03 09:00")
    by_number = read(tmp_path / "kurse.csv", now=NOW, columns={"ts": 0, "open": 1, "high": 2, "low": 3, "close": 4})
    assert candles(by_number).high.tolist() == [row[1] for row in OHLC]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"ts": "Date", "open": "Open"}, "is not enough"),
        ({"ts": "Date", "opne": "Open"}, "'opne' is not a field"),
        ({"ts": "Date", "open": "Nope", "high": 2, "low": 3, "close": 4}, "no column 'Nope'"),
        ({"ts": "Date", "open": 17, "high": 2, "low": 3, "close": 4}, "column 17"),
    ],
)
def test_a_wrong_column_map_is_explained(columns: dict[str, str | int], message: str, tmp_path: Path) -> None:
    path = put(tmp_path, "data.csv", stamped(ISO, "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"))
    with pytest.raises(ImportError_, match=message):
        read(path, now=NOW, columns=columns)


def test_day_or_month_first_is_asked_for_where_it_cannot_be_seen(tmp_path: Path) -> None:
    content = stamped(
        "%d/%m/%Y %H:%M", "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume", count=5, step=86_400
    )
    path = put(tmp_path, "data.csv", content)
    with pytest.raises(ImportError_, match="day first or month first"):
        read(path, now=NOW)
    imported = read(path, now=NOW, time_format="%d/%m/%Y %H:%M")
    assert imported.report.accepted == 5
    assert imported.report.first_ts == JANUARY + 24 * HOUR


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_with_known_names_or_a_map(unit: str, tmp_path: Path) -> None:
    stamps = pa.array([JANUARY + i * MINUTE for i in range(12)], pa.timestamp("us")).cast(pa.timestamp(unit, tz="UTC"))
    prices = np.array(rows())
    table = pa.table({"Open Time": stamps, **{n: prices[:, i] for i, n in enumerate(("o", "h", "l", "c", "v"))}})
    parquet.write_table(table, tmp_path / "x.parquet")
    imported = read(tmp_path / "x.parquet", now=NOW)
    assert str(imported.report.stamps) == "open (detected)"
    assert candles(imported).ts[0] == JANUARY + MINUTE
    mapped = read(
        tmp_path / "x.parquet", now=NOW, columns={"ts": 0, "open": "c", "high": "h", "low": "l", "close": "c"}
    )
    assert candles(mapped).open.tolist() == prices[:, 3].tolist()


def test_empty_values_in_feather_are_refused_row_by_row(tmp_path: Path) -> None:
    stamps = pa.array([JANUARY + i * MINUTE for i in range(4)], pa.timestamp("us", tz="UTC"))
    table = {"date": stamps, "open": [1.0, None, 1.0, 1.0], "high": [1.0, 1.0, float("nan"), 1.0]}
    table |= {"low": [1.0] * 4, "close": [1.0] * 4, "volume": [1.0, 1.0, 1.0, -1.0]}
    feather.write_feather(pa.table(table), str(tmp_path / "x-1m.feather"))
    imported = read(tmp_path / "x-1m.feather", now=NOW)
    assert [(r.row, r.reason) for r in imported.rejects] == [
        (2, "missing_value"),
        (3, "not_finite"),
        (4, "negative_volume"),
    ]
    assert b"nan" in imported.rejects[1].raw


def test_a_file_that_runs_newest_first_is_turned_round(tmp_path: Path) -> None:
    lines = binance().splitlines()
    forward = candles(read(put(tmp_path, "a.csv", binance()), now=NOW))
    imported = read(put(tmp_path, "b.csv", b"\n".join(reversed(lines)) + b"\n"), now=NOW)
    assert imported.report.out_of_order == 0
    assert any("newest first" in note for note in imported.report.notes)
    assert np.array_equal(candles(imported).ts, forward.ts)
    assert np.array_equal(candles(imported).close, forward.close)


def test_the_hour_that_a_clock_skips_and_the_one_it_repeats(tmp_path: Path) -> None:
    header = "Date,Open,High,Low,Close,Volume"
    spring = ["2024-03-10 01:30:00", "2024-03-10 02:30:00", "2024-03-10 03:30:00", "2024-03-10 04:00:00"]
    path = put(tmp_path, "spring.csv", text_of([header, *(f"{at},1,1,1,1,1" for at in spring)]))
    imported = read(path, now=NOW, timezone="America/New_York", timeframe="30m", stamps="close")
    assert [r.reason for r in imported.rejects] == ["skipped_time"]
    autumn = ["2024-11-03 00:30:00", "2024-11-03 01:00:00", "2024-11-03 01:30:00", "2024-11-03 01:00:00",
              "2024-11-03 01:30:00", "2024-11-03 02:00:00"]  # fmt: skip
    path = put(tmp_path, "autumn.csv", text_of([header, *(f"{at},1,1,1,1,1" for at in autumn)]))
    imported = read(path, now=NOW, timezone="America/New_York", timeframe="30m", stamps="close")
    assert np.diff(candles(imported).ts).tolist() == [30 * MINUTE] * 5
    assert any("repeats" in note for note in imported.report.notes)


def test_utf16_and_byte_order_marks(tmp_path: Path) -> None:
    plain = read(put(tmp_path, "a.csv", binance()), now=NOW)
    for name, content in (("bom.csv", b"\xef\xbb\xbf" + binance()), ("wide.csv", binance().decode().encode("utf-16"))):
        assert np.array_equal(read(put(tmp_path, name, content), now=NOW).data.ts, plain.data.ts)


def test_binance_trades_know_the_taker(tmp_path: Path) -> None:
    lines = [f"{100 + i},1.5,2.0,3.0,{JANUARY // 1000 + i},{'true' if i % 2 else 'false'},true" for i in range(4)]
    data = read(put(tmp_path, "BTCUSDT-trades.csv", text_of(lines)), now=NOW).data
    assert isinstance(data, TradeColumns)
    assert data.side.tolist() == [1, -1, 1, -1]
    assert data.id == ["100", "101", "102", "103"]
    aggregated = [f"{9 + i},1.5,2.0,1,2,{JANUARY // 1000 + i},true,true" for i in range(4)]
    data = read(put(tmp_path, "BTCUSDT-aggTrades.csv", text_of(aggregated)), now=NOW).data
    assert isinstance(data, TradeColumns)
    assert data.ts[0] == JANUARY


def test_prices_can_be_scaled_but_volumes_are_not(tmp_path: Path) -> None:
    path = put(tmp_path, "data.csv", stamped(ISO, "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"))
    one, two = candles(read(path, now=NOW)), candles(read(path, now=NOW, scale=0.5))
    assert np.array_equal(one.open * 0.5, two.open)
    assert np.array_equal(one.volume, two.volume)


def test_quotes_keep_their_spread(tmp_path: Path) -> None:
    path = put(
        tmp_path, "20240101_eurusd_tick_quote.csv", text_of(["43.142,1.1,1.2", "43.142,1.1,1.2", "43.142,1.1,1.3"])
    )
    imported = read(path, now=NOW)
    assert isinstance(imported.data, QuoteColumns)
    assert imported.data.ts.tolist() == [JANUARY + 43_142] * 2
    assert imported.data.ask.tolist() == [1.2, 1.3]
    assert imported.report.duplicates == 1


def test_downloads_of_well_known_sites(tmp_path: Path) -> None:
    """A line of the site's own before the header; day first with milliseconds; seconds as numbers."""
    body = [f"{JANUARY // 10**6 + i * 60},2024-01-01 00:0{i}:00,BTC/USD,1,1,1,1,2,3" for i in range(5)]
    header = "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD"
    path = put(tmp_path, "a.csv", text_of(["https://www.example.com", header, *reversed(body)]))
    imported = read(path, now=NOW)
    assert (imported.report.rows, imported.report.accepted) == (5, 5)
    assert candles(imported).volume.tolist() == [2.0] * 5
    assert "1 lines before the header left out" in imported.report.notes
    content = stamped("%d.%m.%Y %H:%M:%S.000", "{at},{o},{h},{l},{c},{v}", "Gmt time,Open,High,Low,Close,Volume")
    imported = read(put(tmp_path, "b.csv", content), now=NOW)
    assert str(imported.report.timezone) == "UTC (detected)"
    assert imported.report.first_ts == JANUARY + MINUTE
    imported = read(
        put(tmp_path, "c.csv", stamped("", "{s},{o},{h},{l},{c},{v}", "time,open,high,low,close,Volume")), now=NOW
    )
    assert imported.report.first_ts == JANUARY + MINUTE


def test_json_of_binance_rest_and_of_freqtrade_trades(tmp_path: Path) -> None:
    lines = [line.split(",") for line in binance().decode().splitlines()]
    klines = [[int(c[0]), *c[1:6], int(c[6]), c[7], int(c[8]), *c[9:]] for c in lines]
    imported = read(put(tmp_path, "klines.json", json.dumps(klines).encode()), now=NOW)
    data = candles(imported)
    assert np.array_equal(data.close, candles(read(put(tmp_path, "a.csv", binance()), now=NOW)).close)
    assert data.count is not None
    assert data.count.tolist() == list(range(12))
    table = [[JANUARY // 1000 + i, str(i), None, "sell", 1.5, 2.0, 3.0] for i in range(4)]
    trades = read(put(tmp_path, "trades.json", json.dumps(table).encode()), now=NOW).data
    assert isinstance(trades, TradeColumns)
    assert (trades.id, trades.side.tolist()) == (["0", "1", "2", "3"], [-1] * 4)


def test_a_timeframe_that_the_stamps_do_not_bear_out_is_noted(tmp_path: Path) -> None:
    path = put(
        tmp_path, "data.csv", stamped(ISO, "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume", step=300)
    )
    imported = read(path, now=NOW, timeframe="1m")
    assert (imported.report.gaps, imported.report.missing) == (11, 44)
    assert any("most often after 5m" in note for note in imported.report.notes)
    path = put(
        tmp_path, "off.csv", stamped("%Y-%m-%d %H:%M:13", "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume")
    )
    assert any("12 candles do not close on the grid" in note for note in read(path, now=NOW).report.notes)
