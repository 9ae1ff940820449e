"""JSON: ccxt and freqtrade arrays (candles and trades), Binance REST klines, Kraken REST OHLC and Trades."""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec
import numpy as np

from infra.importers.csvtable import BadLine, number
from infra.importers.model import (
    LINE_BYTES_MAX,
    REJECTS_MAX,
    Floats,
    ImportError_,
    Options,
    Reject,
    Rows,
    as_raw,
)
from infra.importers.recipe import UTC_DETECTED, Format, Recipe, candle_shape, tick_shape
from infra.importers.source import Source
from infra.importers.times import BAD_TIME, epoch_micros

JSON_BYTES_MAX = 256 << 20
ROW = re.compile(rb"\[[^\[\]]*\]?")
OHLCV = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}


class JsonSpec(msgspec.Struct, frozen=True):
    """Where a row keeps what: ts is epoch; width is the number of items; `unfinished_after` in the source's stamp."""

    ts: int
    fields: dict[str, int]
    width: int
    texts: dict[str, int] = {}
    list_at: str = ""


CCXT = JsonSpec(ts=0, fields=OHLCV, width=6)
BINANCE = JsonSpec(ts=0, fields={**OHLCV, "count": 8}, width=12)
FREQTRADE_TRADES = JsonSpec(ts=0, fields={"price": 4, "qty": 5}, width=7, texts={"id": 1, "side": 3})
KRAKEN_OHLC = JsonSpec(
    ts=0, fields={**{n: i for n, i in OHLCV.items() if n != "volume"}, "volume": 6, "count": 7}, width=8
)
KRAKEN_TRADES = JsonSpec(ts=2, fields={"price": 0, "qty": 1}, width=7, texts={"side": 3, "id": 6})


def arrays(source: Source, options: Options) -> Recipe | None:
    """[[ts, o, h, l, c, v], ...] and [[ts, id, type, side, price, amount, cost], ...]."""
    head = source.head().lstrip()
    if not re.match(rb"\[\s*\[", head):
        return None
    rows = [row for raw, _ in _salvage(head, 0, 50) if (row := _decoded(raw)) is not None]
    for spec in (CCXT, BINANCE, FREQTRADE_TRADES):
        fitting = [row for row in rows if len(row) == spec.width]
        if len(fitting) * 2 > len(rows):
            break
    else:
        return None
    load = partial(_load, spec=spec)
    if spec is FREQTRADE_TRADES:
        return Recipe(tick_shape("trades", UTC_DETECTED), load)
    return Recipe(candle_shape(UTC_DETECTED), load)


def kraken(source: Source, options: Options) -> Recipe | None:
    head = source.head()
    if not re.match(rb'\s*\{\s*"(error|result)"', head):
        return None
    rows = [row for raw, _ in _salvage(head, 0, 50) if (row := _decoded(raw))]
    for spec in (KRAKEN_OHLC, KRAKEN_TRADES):
        fitting = [row for row in rows if len(row) == spec.width and isinstance(row[spec.ts], int | float)]
        if fitting and len(fitting) * 2 > len(rows):
            break
    else:
        return None
    if spec is KRAKEN_TRADES:
        return Recipe(tick_shape("trades", UTC_DETECTED), partial(_load, spec=spec))
    return Recipe(candle_shape(UTC_DETECTED), partial(_load_kraken_ohlc, spec=spec))


def _load_kraken_ohlc(source: Source, spec: JsonSpec) -> Rows:
    """Kraken's `last` is the newest finished candle; the one after it is still being made."""
    rows = _load(source, spec)
    last = re.findall(rb'"last"\s*:\s*"?(\d{9,19})', source.data[-4096:])
    if not last:
        return rows
    unfinished = (rows.wall > int(epoch_micros(np.array([int(last[-1])]))[0])).astype(np.float64)
    return msgspec.structs.replace(rows, fields={**rows.fields, "unfinished": unfinished})


def _load(source: Source, spec: JsonSpec) -> Rows:
    if len(source.data) > JSON_BYTES_MAX:
        raise ImportError_(f"{source.path} has more than {JSON_BYTES_MAX >> 20} MiB of JSON: split it, or use CSV.")
    table = _whole(source.data)
    if table is not None and (rows := _fast(table, spec)) is not None:
        return rows
    return _careful(source, spec)


def _whole(data: bytes) -> list[Any] | None:
    """The one list of rows in the document; None where it is damaged or not that simple."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    if isinstance(document, dict):
        result = document.get("result")
        lists = [v for v in result.values() if isinstance(v, list)] if isinstance(result, dict) else []
        document = lists[0] if len(lists) == 1 else None
    return document if isinstance(document, list) else None


def _fast(table: list[Any], spec: JsonSpec) -> Rows | None:
    if not table or any(type(row) is not list or len(row) != spec.width for row in table):
        return None
    columns = list(zip(*table, strict=True))
    numeric = {name: _numbers(columns[i]) for name, i in spec.fields.items()}
    stamps = _numbers(columns[spec.ts])
    if stamps is None or any(column is None for column in numeric.values()):
        return None
    wall = epoch_micros(stamps)
    return Rows(
        wall=wall,
        fields={name: column for name, column in numeric.items() if column is not None},
        texts={name: [_text(cell) for cell in columns[i]] for name, i in spec.texts.items()},
        line=np.arange(1, len(wall) + 1, dtype=np.int64),
        raw=lambda index: as_raw(msgspec.json.encode(table[index])),
        rejects=[],
    )


def _numbers(cells: tuple[Any, ...]) -> Floats | None:
    kinds = set(map(type, cells))
    if not (kinds <= {int, float} or (kinds == {str} and all(cell.isascii() and "_" not in cell for cell in cells))):
        return None
    try:
        return np.array(cells).astype(np.float64)
    except (ValueError, OverflowError, TypeError):
        return None


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _salvage(data: bytes, at: int, most: int | None = None) -> Iterator[tuple[bytes, bool]]:
    """Every innermost array, and whether it is closed."""
    for seen, match in enumerate(ROW.finditer(data, at)):
        if most is not None and seen >= most + 2:
            return
        row = match[0]
        if row.strip() in (b"[", b"[]") and not row.endswith(b"]"):
            continue
        yield row, row.endswith(b"]")


def _decoded(raw: bytes) -> list[Any] | None:
    """json, not msgspec, because it reads NaN and Infinity, which Python writers leave in such files."""
    try:
        row = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, list) else None


def _careful(source: Source, spec: JsonSpec) -> Rows:
    """Row by row: what is damaged is refused, the rest is kept."""
    walls: list[int] = []
    numbers: list[list[float]] = []
    words: list[list[str]] = []
    kept: list[tuple[int, bytes]] = []
    rejects: list[Reject] = []
    for index, (raw, closed) in enumerate(_salvage(source.data, 0), start=1):
        try:
            wall, values, texts = _parse(raw, closed, spec)
        except BadLine as bad:
            rejects.append(Reject(index, bad.reason, bad.text, as_raw(raw)))
            if len(rejects) > REJECTS_MAX:
                raise ImportError_(f"{source.path} has over {REJECTS_MAX:,} bad rows: is it this format?") from bad
            continue
        walls.append(wall)
        numbers.append(values)
        words.append(texts)
        kept.append((index, as_raw(raw)))
    columns = np.array(numbers, dtype=np.float64).reshape(-1, len(spec.fields))
    return Rows(
        wall=np.array(walls, dtype=np.int64),
        fields={name: columns[:, i] for i, name in enumerate(spec.fields)},
        texts={name: [row[i] for row in words] for i, name in enumerate(spec.texts)},
        line=np.array([index for index, _ in kept], dtype=np.int64),
        raw=lambda index: kept[index][1],
        rejects=rejects,
        notes=("the JSON is damaged or irregular: read row by row",),
    )


def _parse(raw: bytes, closed: bool, spec: JsonSpec) -> tuple[int, list[float], list[str]]:
    if len(raw) > LINE_BYTES_MAX:
        raise BadLine("line_too_long", f"row of {len(raw):,} bytes, more than {LINE_BYTES_MAX:,}")
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise BadLine("not_utf8", f"byte {error.start + 1} of the row is not UTF-8") from error
    row = _decoded(raw) if closed else None
    if not closed or (row is not None and len(row) < spec.width):
        raise BadLine("truncated", f"row of fewer than {spec.width} items")
    if row is None:
        raise BadLine("not_a_number", "the row is not JSON")
    if len(row) > spec.width:
        raise BadLine("too_many_cells", f"{len(row)} items where {spec.width} are expected")
    try:
        stamp = number(_cell(row[spec.ts]), "stamp")
    except BadLine as error:
        raise BadLine("bad_time", f"stamp {_cell(row[spec.ts])[:40]!r} is not a time") from error
    wall = int(epoch_micros(np.array([stamp]))[0])
    if wall == BAD_TIME:
        raise BadLine("bad_time", "the stamp is not a time")
    values = [number(_cell(row[i]), name) for name, i in spec.fields.items()]
    return wall, values, [_text(row[i]) for i in spec.texts.values()]


def _cell(value: Any) -> str:
    """bool is an int in Python and never a price."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


FORMATS = (
    Format("ccxt-json", "ccxt / freqtrade JSON arrays (also Binance REST klines)", arrays),
    Format("kraken-rest", "Kraken REST OHLC and Trades replies", kraken),
)
