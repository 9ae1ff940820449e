"""MT4 history export (date,time,o,h,l,c,volume without header) and MT5 export (tab separated, <DATE> header)."""

import re

import msgspec

from infra.importers.csvtable import CsvSpec
from infra.importers.model import Options
from infra.importers.recipe import UTC_ASSUMED, Format, Recipe, candle_shape, csv_recipe, is_number, majority
from infra.importers.source import Source
from infra.importers.times import TimeSpec, detect_style

SERVER = "stamps are in the broker's server time, which the file does not name: state the time zone"
DATE = re.compile(r"\d{4}\.\d{2}\.\d{2}")


def mt4(source: Source, options: Options) -> Recipe | None:
    lines = source.lines()

    def fits(cells: list[str]) -> bool:
        if len(cells) != 7 or not DATE.fullmatch(cells[0]) or not re.fullmatch(r"\d{2}:\d{2}", cells[1]):
            return False
        return all(map(is_number, cells[2:]))

    if not majority(lines, fits):
        return None
    fields = {"open": 2, "high": 3, "low": 4, "close": 5, "volume": 6}
    spec = CsvSpec(time=TimeSpec(columns=(0, 1), style="%Y.%m.%d %H:%M"), fields=fields, width=7)
    return csv_recipe(candle_shape(UTC_ASSUMED, SERVER), spec)


def mt5(source: Source, options: Options) -> Recipe | None:
    lines = source.lines()
    names = [cell.strip().strip("<>").lower() for cell in lines[0].split("\t")] if lines else []
    if not {"date", "open", "high", "low", "close"} <= set(names) or "<" not in lines[0]:
        return None
    columns = (names.index("date"), names.index("time")) if "time" in names else (names.index("date"),)
    fields = {name: names.index(name) for name in ("open", "high", "low", "close")}
    # Real volume is 0 at most FX brokers; the tick count is what their charts show as volume.
    volume = next((names.index(n) for n in ("tickvol", "vol") if n in names), None)
    fields |= {"volume": volume} if volume is not None else {}
    body = [cells for line in lines[1:200] if len(cells := line.split("\t")) == len(names)]
    style = detect_style([" ".join(cells[i] for i in columns) for cells in body])
    if style is None:
        return None
    time = msgspec.structs.replace(style, columns=columns)
    spec = CsvSpec(time=time, fields=fields, width=len(names), delimiter="\t", skip=1)
    notes = (SERVER, "volume is the tick volume") if "tickvol" in names else (SERVER,)
    return csv_recipe(candle_shape(UTC_ASSUMED, *notes), spec)


FORMATS = (
    Format("mt4", "MetaTrader 4 history export", mt4),
    Format("mt5", "MetaTrader 5 bars export", mt5),
)
