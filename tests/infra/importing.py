"""Small samples of every text format, cut from real files or written after them, for the importer tests."""

import gzip
import io
import json
import zipfile
from datetime import UTC, datetime

import msgspec

NOW = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp()) * 1_000_000
OHLC = [
    (1.2, 1.25, 1.15, 1.22, 10.5),
    (1.22, 1.3, 1.2, 1.28, 3.25),
    (1.28, 1.29, 1.27, 1.27, 7.0),
    (1.27, 1.27, 1.27, 1.27, 0.0),
    (1.27, 1.4, 1.1, 1.3, 99.125),
]


class Sample(msgspec.Struct, frozen=True):
    """A file: its name, content, the format that is to be recognised, and its kind."""

    name: str
    content: bytes
    format: str
    kind: str = "candles"


def text_of(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()


def rows(count: int = 12) -> list[tuple[float, float, float, float, float]]:
    return [OHLC[i % len(OHLC)] for i in range(count)]


def binance(unit: int = 1_000, header: bool = False) -> bytes:
    start = 1_704_067_200 * unit
    names = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_volume,taker_quote,ignore"
    lines = [names] if header else []
    for i, (o, h, l, c, v) in enumerate(rows()):
        at = start + i * 60 * unit
        lines.append(f"{at},{o:.8f},{h:.8f},{l:.8f},{c:.8f},{v:.8f},{at + 60 * unit - 1},1.5,{i},0.5,0.25,0")
    return text_of(lines)


def stamped(pattern: str, template: str, header: str = "", count: int = 12, step: int = 60) -> bytes:
    lines = [header] if header else []
    for i, (o, h, l, c, v) in enumerate(rows(count)):
        at = datetime.fromtimestamp(1_704_067_200 + i * step, UTC).strftime(pattern)
        lines.append(
            template.format(at=at, s=1_704_067_200 + i * step, ms=i * step * 1_000, o=o, h=h, l=l, c=c, v=v, i=i)
        )
    return text_of(lines)


def zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def ccxt() -> bytes:
    table = [[(1_704_067_200 + i * 60) * 1_000, *row] for i, row in enumerate(rows())]
    return json.dumps(table).encode()


def kraken_trades() -> bytes:
    table = [
        [f"{o:.5f}", f"{v + 1:.8f}", 1_704_067_200 + i + 0.1234567, "bs"[i % 2], "l", "", 500 + i]
        for i, (o, _, _, _, v) in enumerate(rows())
    ]
    return json.dumps({"error": [], "result": {"XBTUSDT": table, "last": "1704067300000000000"}}).encode()


ISO = "%Y-%m-%d %H:%M:%S"
SAMPLES = (
    Sample("BTCUSDT-1m-2024-01.csv", binance(), "binance-klines"),
    Sample("BTCUSDT-1m-2025-01.csv", binance(1_000_000, header=True), "binance-klines"),
    Sample("XBTUSD_1.csv", stamped("%s", "{s},{o},{h},{l},{c},{v},{i}"), "kraken-ohlcvt"),
    Sample("XBTUSD.csv", stamped("%s", "{s},{o},1{v}"), "kraken-trades", "trades"),
    Sample("DAT_ASCII_EURUSD_M1_2024.csv", stamped("%Y%m%d %H%M%S", "{at};{o};{h};{l};{c};0"), "histdata-m1"),
    Sample("DAT_ASCII_EURUSD_T_2024.csv", stamped("%Y%m%d %H%M%S", "{at}125,{l},{h},0"), "histdata-ticks", "quotes"),
    Sample("EURUSD1.csv", stamped("%Y.%m.%d,%H:%M", "{at},{o},{h},{l},{c},{i}"), "mt4"),
    Sample(
        "EURUSD_M1.csv",
        stamped(
            "%Y.%m.%d\t%H:%M:%S",
            "{at}\t{o}\t{h}\t{l}\t{c}\t{i}\t0\t5",
            "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        ),
        "mt5",
    ),
    Sample(
        "EURUSD.csv",
        stamped(
            "%m/%d/%Y %H:%M:%S.000",
            "{at},{o},{h},{l},{c},1{o},1{h},1{l},1{c}",
            "DateTime,BidOpen,BidHigh,BidLow,BidClose,AskOpen,AskHigh,AskLow,AskClose",
            step=86_400 * 2,
        ),
        "fxcm",
    ),
    Sample("data.csv", stamped(ISO, "{at},{o},{h},{l},{c},{v}", "Date,Open,High,Low,Close,Volume"), "csv"),
    Sample("ticks.csv", stamped(ISO, "{at}+00:00,{l},{h}", "timestamp,bid,ask"), "csv", "quotes"),
    Sample("trades.csv", stamped(ISO, "{s},{o},1{v},buy,{i}", "timestamp,price,amount,side,id"), "csv", "trades"),
    Sample("20240101_btcusd_minute_trade.csv", stamped("", "{ms},{o},{h},{l},{c},{v}"), "lean"),
    Sample("20240101_eurusd_tick_quote.csv", stamped("", "{ms}.25,{l},{h}"), "lean", "quotes"),
    Sample("BTC_USDT-1m.json", ccxt(), "ccxt-json"),
    Sample("Trades.json", kraken_trades(), "kraken-rest", "trades"),
    Sample("BTCUSDT-trades-2024-01.csv", stamped("", "{i},{o},1{v},3.5,{s}123,true,true"), "binance-trades", "trades"),
)  # fmt: skip


def gz(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)
