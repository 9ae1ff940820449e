"""Column names as people write them, and which of our fields they mean."""

import re
from collections.abc import Mapping, Sequence

from infra.importers.model import ImportError_, Kind

ALIASES: dict[str, tuple[str, ...]] = {
    "ts": (
        "timestamp", "ts", "time", "datetime", "date", "open time", "opentime", "open timestamp", "timestamp utc",
        "timestamp ms", "date time", "gmt time", "utc time", "local time", "unix",
        "unix timestamp", "close time", "t", "",
    ),
    "clock": ("time", "clock"),
    "open": ("open", "o", "open price"),
    "high": ("high", "h", "high price"),
    "low": ("low", "l", "low price"),
    "close": ("close", "c", "close price", "last"),
    "volume": ("volume", "vol", "v", "tickvol", "tick volume", "volume base", "base volume", "volume btc", "tickqty"),
    "count": ("count", "trades", "number of trades", "tradecount", "n trades", "num trades"),
    "price": ("price", "p", "trade price"),
    "qty": ("qty", "quantity", "amount", "size", "trade size", "base qty", "volume", "vol"),
    "side": ("side", "taker side", "direction", "takerside"),
    "id": ("id", "trade id", "tradeid", "tid", "agg trade id"),
    "maker": ("is buyer maker", "isbuyermaker", "buyer maker"),
    "bid": ("bid", "bid price", "bidprice", "best bid"),
    "ask": ("ask", "ask price", "askprice", "best ask", "offer"),
    "bid_size": ("bid size", "bidsize", "bid qty", "bid volume", "bid amount", "bidvolume"),
    "ask_size": ("ask size", "asksize", "ask qty", "ask volume", "ask amount", "askvolume"),
} | {
    f"{side}_{name}": (f"{side} {name}", f"{side}{name}", f"{name} {side}", f"{side[0]} {name}")
    for side in ("bid", "ask")
    for name in ("open", "high", "low", "close")
}  # fmt: skip
OHLC = ("open", "high", "low", "close")
TWO_SIDED = tuple(f"{side}_{name}" for side in ("bid", "ask") for name in OHLC)
NEEDED: dict[str, tuple[str, ...]] = {
    "sides": ("ts", *TWO_SIDED),
    "candles": ("ts", *OHLC),
    "quotes": ("ts", "bid", "ask"),
    "trades": ("ts", "price", "qty"),
}
OPTIONAL: dict[str, tuple[str, ...]] = {
    "sides": ("volume", "count"),
    "candles": ("volume", "count"),
    "quotes": ("bid_size", "ask_size"),
    "trades": ("side", "id", "maker"),
}
TEXTS = ("side", "id", "maker")


def plain(name: str) -> str:
    """'<Open_Time>' and 'open time' are one name."""
    return re.sub(r"[\s_.\-]+", " ", name.strip().strip('"<>').strip()).lower()


def fields_of(header: Sequence[str]) -> tuple[Kind, dict[str, int]] | None:
    """The kind of data and the index of each field, from a header; None where the names do not make up any kind."""
    names = [plain(cell) for cell in header]
    found = {field: at for field, aliases in ALIASES.items() if (at := _first(names, aliases)) is not None}
    for what, needed in NEEDED.items():
        if all(field in found for field in needed):
            wanted = {field: found[field] for field in (*needed, *OPTIONAL[what]) if field in found}
            clock = found.get("clock")
            if clock is not None and clock != wanted["ts"] and names[wanted["ts"]] == "date":
                wanted["clock"] = clock
            elif "clock" in found and "date" in names and names.index("date") != found["clock"]:
                wanted |= {"ts": names.index("date"), "clock": found["clock"]}
            return ("candles" if what == "sides" else what), wanted  # type: ignore[return-value]
    return None


def _first(names: Sequence[str], aliases: Sequence[str]) -> int | None:
    return next((names.index(alias) for alias in aliases if alias in names), None)


def mapped(columns: Mapping[str, str | int], header: Sequence[str] | None, width: int) -> tuple[Kind, dict[str, int]]:
    """The same from a map that the caller states, {'ts': 'Datum', 'open': 1, ...}. Errors: ImportError_."""
    known = sorted(set(ALIASES) | {"time"})
    fields: dict[str, int] = {}
    for field, where in columns.items():
        if field not in known:
            raise ImportError_(f"Column map: {field!r} is not a field; the fields are {', '.join(known)}.")
        fields["ts" if field == "time" else field] = _index(field, where, header, width)
    for what, needed in NEEDED.items():
        if all(field in fields for field in needed):
            allowed = (*needed, *OPTIONAL[what], "clock")
            return ("candles" if what == "sides" else what), {f: i for f, i in fields.items() if f in allowed}  # type: ignore[return-value]
    raise ImportError_(
        f"Column map: {', '.join(fields)} is not enough; "
        "map ts, open, high, low, close or ts, price, qty or ts, bid, ask."
    )


def _index(field: str, where: str | int, header: Sequence[str] | None, width: int) -> int:
    if isinstance(where, int):
        if not 0 <= where < width:
            raise ImportError_(f"Column map: {field} is column {where}, but rows have columns 0 to {width - 1}.")
        return where
    if header is None:
        raise ImportError_(f"Column map: {field} is named {where!r}, but the file has no header: give a number from 0.")
    names = [cell.strip().strip('"') for cell in header]
    if where in names:
        return names.index(where)
    simple = [plain(cell) for cell in header]
    if plain(where) in simple:
        return simple.index(plain(where))
    raise ImportError_(f"Column map: no column {where!r} for {field}; the file has {', '.join(names[:20])}.")
