"""Binance archive CSV: 12-column klines, trades and aggregated trades; with or without header, ms or µs."""

from collections.abc import Sequence
from itertools import pairwise
from statistics import mode

import numpy as np

from infra.importers.csvtable import CsvSpec
from infra.importers.model import Choice, Options
from infra.importers.recipe import (
    UTC_DETECTED,
    Format,
    Recipe,
    candle_shape,
    csv_recipe,
    is_epoch,
    is_number,
    majority,
    skip_of,
    tick_shape,
)
from infra.importers.source import Source
from infra.importers.times import TimeSpec, detect_style, epoch_micros, parse_text

FIELDS = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "count": 8}


def klines(source: Source, options: Options) -> Recipe | None:
    lines = source.lines()
    skip = skip_of(lines)
    if not majority(lines[skip:], _is_kline):
        return None
    rows = [cells for line in lines[skip : skip + 50] if _is_kline(cells := line.split(","))]
    style = detect_style([cells[0] for cells in rows])
    if style is None:
        return None
    closes = [_close_micros(cells[6]) for cells in rows]
    length, zone = _length_and_zone(style, [cells[0] for cells in rows], closes)
    return csv_recipe(candle_shape(zone, length=length), CsvSpec(time=style, fields=FIELDS, width=12, skip=skip))


def _is_kline(cells: list[str]) -> bool:
    return len(cells) == 12 and is_epoch(cells[6]) and all(is_number(cell) for cell in cells[1:11])


def _close_micros(text: str) -> int:
    """The end of the candle: close time is its last unit (ms or µs)."""
    unit = 1_000 if len(text.strip()) < 15 else 1
    return int(epoch_micros(np.array([int(float(text))]))[0]) + unit


def _length_and_zone(style: TimeSpec, opens: Sequence[str], closes: list[int]) -> tuple[int | None, Choice]:
    """Close times are UTC whatever the open times are written in, so they tell both zone and timeframe."""
    spans = []
    for text, close in zip(opens, closes, strict=True):
        try:
            spans.append(close - parse_text(style, text))
        except (ValueError, OverflowError):
            continue
    if not spans:
        return None, UTC_DETECTED
    span = mode(spans)
    if style.style == "epoch":
        return (span if span > 0 else None), UTC_DETECTED
    steps = [b - a for a, b in pairwise(closes) if b > a]
    if not steps:
        return None, Choice("UTC", "assumed")
    length = mode(steps)
    offset = length - span
    if offset % 900_000_000 or abs(offset) > 14 * 3_600_000_000:
        return length, Choice("UTC", "assumed")
    minutes = abs(offset) // 60_000_000
    name = f"{'+' if offset > 0 else '-'}{minutes // 60:02d}:{minutes % 60:02d}" if offset else "UTC"
    return length, Choice(name, "detected")


def trades(source: Source, options: Options) -> Recipe | None:
    """id, price, qty, quote qty, time, buyer is maker[, best match]; or the aggregated kind with first and last id."""
    lines = source.lines()
    skip = skip_of(lines)
    for widths, time, maker in (((6, 7), 4, 5), ((7, 8), 5, 6)):

        def fits(cells: list[str], widths: tuple[int, ...] = widths, time: int = time, maker: int = maker) -> bool:
            if len(cells) not in widths or cells[maker].strip().lower() not in ("true", "false"):
                return False
            return is_epoch(cells[time]) and all(is_number(cell) for cell in cells[:time])

        if majority(lines[skip:], fits):
            width = mode([len(line.split(",")) for line in lines[skip:50]] or [widths[0]])
            spec = CsvSpec(
                time=TimeSpec(columns=(time,), style="epoch", integer=True),
                fields={"price": 1, "qty": 2},
                texts={"id": 0, "maker": maker},
                width=width,
                skip=skip,
            )
            return csv_recipe(tick_shape("trades", UTC_DETECTED), spec)
    return None


FORMATS = (
    Format("binance-klines", "Binance archive klines, 12 columns", klines),
    Format("binance-trades", "Binance archive trades and aggTrades", trades),
)
