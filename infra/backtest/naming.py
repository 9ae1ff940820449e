"""What the name of a data file says: venue, symbol and timeframe, as archives and tools write them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from events import timeframe

_QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "DAI", "USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "TRY",
    "BRL", "BTC", "XBT", "ETH", "BNB",
)  # fmt: skip
_ENDINGS = (".gz", ".zip", ".csv", ".txt", ".json", ".feather", ".parquet")
_LENGTH = r"(?P<tf>\d{1,4}[smhdw])"
_LEAN = {"minute": "1m", "second": "1s", "hour": "1h", "daily": "1d"}
_MT = {"M1": "1m", "M5": "5m", "M15": "15m", "M30": "30m", "H1": "1h", "H4": "4h", "D1": "1d", "W1": "1w"}

_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        rf"(?P<base>[A-Za-z0-9]+)_(?P<quote>[A-Za-z0-9]+)(?:_[A-Za-z0-9]+)?-{_LENGTH}(?:-[a-z]+)?",  # freqtrade
        rf"(?P<pair>[A-Z0-9]{{5,}})-{_LENGTH}(?:-.*)?",  # Binance archive
        r"(?P<pair>[A-Z0-9]{5,})-(?:aggTrades|trades)(?:-.*)?",
        r"(?P<pair>[A-Z0-9.]{5,})_(?P<minutes>\d{1,5})",  # Kraken OHLCVT
        r"(?:HISTDATA_COM|DAT)_[A-Z]+_(?P<pair>[A-Z]{6})_(?P<mt>M1|T)_?.*",
        r"(?P<pair>[A-Z]{6,})_?(?P<mt>M1|M5|M15|M30|H1|H4|D1|W1)(?:_.*)?",  # MetaTrader
        rf"(?P<base>[A-Za-z0-9]+)-(?P<quote>[A-Za-z0-9]+)[-_]{_LENGTH}(?:[-_].*)?",
        r"(?P<base>[A-Z0-9]+)[-_](?P<quote>[A-Z]{3,5})",
        r"(?P<whole>[A-Za-z][A-Za-z0-9]{0,11})",
    )
)


class Named(msgspec.Struct, frozen=True):
    """What a name says; None where it does not."""

    symbol: str | None = None
    timeframe: str | None = None
    venue: str | None = None


def named(path: Path) -> Named:
    """Reads the path, for Lean's folders, else the name of the file."""
    if (lean := _lean(path)) is not None:
        return lean
    stem = path.name
    while stem.lower().endswith(_ENDINGS):
        stem = stem[: stem.rindex(".")]
    for shape in _SHAPES:
        if found := shape.fullmatch(stem):
            return _read(found.groupdict())
    return Named()


def paired(text: str) -> str:
    """`BTCUSDT` as `BTC-USDT`; what ends in no known currency stays as it is."""
    text = text.upper()
    for quote in _QUOTES:
        if text.endswith(quote) and len(text) - len(quote) >= 2:
            return f"{text.removesuffix(quote)}-{quote}"
    return text


def _read(parts: dict[str, str | None]) -> Named:
    if whole := parts.get("whole"):
        return Named(paired(whole) if len(whole) >= 6 else whole.upper())
    base, quote, pair = parts.get("base"), parts.get("quote"), parts.get("pair")
    symbol = f"{base}-{quote}".upper() if base and quote else paired(pair or "")
    return Named(symbol.replace(".", ""), _length(parts))


def _length(parts: dict[str, str | None]) -> str | None:
    if minutes := parts.get("minutes"):
        return timeframe.name(int(minutes) * timeframe.MINUTE) if int(minutes) else None
    return parts.get("tf") or _MT.get(parts.get("mt") or "")


def _lean(path: Path) -> Named | None:
    parts = path.parts
    for place, part in enumerate(parts[:-1]):
        if part in _LEAN and place and path.suffix == ".zip":
            ticker = parts[place + 1].removesuffix(".zip").partition("_")[0]
            return Named(paired(ticker), _LEAN[part], parts[place - 1])
    return None
