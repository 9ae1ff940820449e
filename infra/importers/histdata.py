"""HistData ASCII: `;` separated one-minute bid candles and comma separated ticks, in EST without daylight saving."""

import re

from events import timeframe as timeframes
from infra.importers.csvtable import CsvSpec
from infra.importers.model import Choice, Options
from infra.importers.recipe import Format, Recipe, candle_shape, csv_recipe, is_number, majority, tick_shape
from infra.importers.source import Source
from infra.importers.times import TimeSpec

EST = Choice("EST", "detected")
BARS = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}


def minutes(source: Source, options: Options) -> Recipe | None:
    def fits(cells: list[str]) -> bool:
        stamp = re.fullmatch(r"\d{8} \d{6}", cells[0])
        return len(cells) == 6 and stamp is not None and all(map(is_number, cells[1:]))

    if not majority(source.lines(), fits, ";"):
        return None
    time = TimeSpec(columns=(0,), style="%Y%m%d %H%M%S")
    shape = candle_shape(EST, "EST is UTC-5 all year in this format", length=timeframes.MINUTE)
    return csv_recipe(shape, CsvSpec(time=time, fields=BARS, width=6, delimiter=";"))


def ticks(source: Source, options: Options) -> Recipe | None:
    def fits(cells: list[str]) -> bool:
        stamp = re.fullmatch(r"\d{8} \d{9}", cells[0])
        return len(cells) == 4 and stamp is not None and all(map(is_number, cells[1:]))

    if not majority(source.lines(), fits):
        return None
    time = TimeSpec(columns=(0,), style="%Y%m%d %H%M%S%f")
    spec = CsvSpec(time=time, fields={"bid": 1, "ask": 2}, width=4)
    return csv_recipe(tick_shape("quotes", EST, "EST is UTC-5 all year in this format"), spec)


FORMATS = (
    Format("histdata-m1", "HistData ASCII one-minute bars", minutes),
    Format("histdata-ticks", "HistData ASCII ticks", ticks),
)
