"""Kraken downloads without header: OHLCVT (seconds, o, h, l, c, v, trades) and trades (seconds, price, quantity)."""

import re

from events import timeframe as timeframes
from infra.importers.csvtable import CsvSpec
from infra.importers.model import Options
from infra.importers.recipe import (
    UTC_DETECTED,
    Format,
    Recipe,
    candle_shape,
    csv_recipe,
    is_number,
    majority,
    skip_of,
    tick_shape,
)
from infra.importers.source import Source
from infra.importers.times import TimeSpec

SECONDS = re.compile(r"\d{9,10}(\.\d+)?")


def _rows_of(width: int, cells: list[str]) -> bool:
    if len(cells) != width or not SECONDS.fullmatch(cells[0].strip()):
        return False
    return all(is_number(cell) for cell in cells[1:])


def ohlcvt(source: Source, options: Options) -> Recipe | None:
    lines = source.lines()
    if skip_of(lines) or not majority(lines, lambda cells: _rows_of(7, cells)):
        return None
    fields = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5, "count": 6}
    spec = CsvSpec(time=TimeSpec(columns=(0,), style="epoch", integer=True), fields=fields, width=7)
    minutes = re.search(r"_(\d+)\.csv$", source.name)
    named = int(minutes[1]) if minutes else 0
    # The download names its files by pair and minutes; a sparse pair's own steps would mislead.
    if named in (1, 5, 15, 30, 60, 240, 720, 1440):
        return csv_recipe(candle_shape(UTC_DETECTED, length=named * timeframes.MINUTE), spec)
    return csv_recipe(candle_shape(UTC_DETECTED), spec)


def trades(source: Source, options: Options) -> Recipe | None:
    lines = source.lines()
    if skip_of(lines) or not majority(lines, lambda cells: _rows_of(3, cells)):
        return None
    whole = not any("." in line.split(",")[0] for line in lines)
    spec = CsvSpec(time=TimeSpec(columns=(0,), style="epoch", integer=whole), fields={"price": 1, "qty": 2}, width=3)
    note = "trades have no id: rows that look the same are all kept; importing twice is told apart by the file"
    return csv_recipe(tick_shape("trades", UTC_DETECTED, note), spec)


FORMATS = (
    Format("kraken-ohlcvt", "Kraken OHLCVT download", ohlcvt),
    Format("kraken-trades", "Kraken trades download", trades),
)
