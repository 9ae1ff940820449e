"""Lean data folders: zipped CSV without header; what a row means stands in the path.

Minute, second and tick files hold one day, stamps in milliseconds since its midnight; hour and daily files hold all
of history with stamps `YYYYMMDD HH:MM`. Equity and option prices are written times 10,000; the others are not.
"""

import re

import msgspec

from events import timeframe as timeframes
from infra.importers.csvtable import CsvSpec
from infra.importers.model import Choice, ImportError_, Options, Rows
from infra.importers.recipe import Format, Recipe, candle_shape, csv_recipe, majority, tick_shape
from infra.importers.source import Source
from infra.importers.times import TimeSpec, parse_text

DAY_FILE = re.compile(r"(\d{8})_.+_(minute|second|tick)_(trade|quote|openinterest).*\.csv", re.IGNORECASE)
LENGTHS = {
    "second": timeframes.SECOND,
    "minute": timeframes.MINUTE,
    "hour": timeframes.HOUR,
    "daily": timeframes.DAY,
}
CLASSES = ("equity", "option", "index", "forex", "cfd", "crypto", "cryptofuture", "future")
SCALED = ("equity", "option")
TRADE = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}
SIDES = tuple(f"{side}_{name}" for side in ("bid", "ask") for name in ("open", "high", "low", "close", "size"))
QUOTE = {name: index for index, name in enumerate(SIDES, start=1)}
TICKS = {
    ("quote", 3): {"bid": 1, "ask": 2},
    ("quote", 5): {"bid": 1, "bid_size": 2, "ask": 3, "ask_size": 4},
    ("quote", 8): {"bid": 1, "bid_size": 2, "ask": 3, "ask_size": 4},
    ("trade", 3): {"price": 1, "qty": 2},
    ("trade", 6): {"price": 1, "qty": 2},
}


class Place(msgspec.Struct, frozen=True):
    """What the path says: asset class and market ('' unknown), resolution, and the day of a one-day file."""

    asset: str
    market: str
    resolution: str
    day: str


def _place(source: Source) -> Place | None:
    parts = [part.lower() for part in source.path.absolute().parts]
    asset, market = "", ""
    for index in range(len(parts) - 2, 0, -1):
        if parts[index - 1] in CLASSES:
            asset, market = parts[index - 1], parts[index]
            break
    if match := DAY_FILE.fullmatch(source.name):
        return Place(asset, market, match[2].lower(), match[1])
    folder = parts[-2] if len(parts) > 1 else ""
    if folder in ("hour", "daily") and source.path.suffix.lower() == ".zip":
        return Place(asset, market, folder, "")
    return None


def _zone(place: Place) -> tuple[Choice, tuple[str, ...]]:
    """The zone of the data, which Lean keeps by asset class and market.

    FXCM: UTC-5 all year. Laid over Oanda's minutes of the same days (which are UTC), the closes fit best at a shift
    of five hours in every one of 15 days in April and May, when New York was at UTC-4.
    """
    if place.asset in SCALED or place.asset == "index":
        return Choice("America/New_York", "detected"), ()
    if place.asset == "forex" and place.market == "fxcm":
        return Choice("EST", "detected"), ("FXCM minutes are in UTC-5 all year",)
    if place.asset in ("crypto", "cryptofuture") or place.market == "oanda":
        return Choice("UTC", "detected"), ()
    what = place.market or "market"
    return Choice("UTC", "assumed"), (f"the zone of {what} is not known: state it if it is not UTC",)


def sniff(source: Source, options: Options) -> Recipe | None:
    place = _place(source)
    if place is None:
        return None
    lines = source.lines()
    width = max((sum(1 for line in lines[:50] if line.count(",") + 1 == n), n) for n in (3, 5, 6, 8, 11))[1]
    if not majority(lines, lambda cells: len(cells) == width):
        return None
    if place.day:
        try:
            midnight = parse_text(TimeSpec(columns=(0,), style="%Y%m%d"), place.day)
        except ValueError as error:
            raise ImportError_(f"{source.path}: {place.day} in the name {source.name} is not a day.") from error
        time = TimeSpec(columns=(0,), style="day_ms", midnight=midnight)
    else:
        if not majority(lines, lambda cells: re.fullmatch(r"\d{8} \d{2}:\d{2}", cells[0]) is not None):
            return None
        time = TimeSpec(columns=(0,), style="%Y%m%d %H:%M")
    return _recipe(source, place, width, time)


def _recipe(source: Source, place: Place, width: int, time: TimeSpec) -> Recipe | None:
    zone, notes = _zone(place)
    if not place.asset:
        notes = (*notes, "the path names no asset class: prices taken as they stand")
    if place.resolution == "tick":
        kind = "quote" if "_quote" in source.name.lower() else "trade"
        fields = TICKS.get((kind, width))
        if fields is None:
            return None
        shape = tick_shape("quotes" if kind == "quote" else "trades", zone, *notes)
    else:
        if width not in (6, 11):
            return None
        fields = TRADE if width == 6 else QUOTE
        shape = candle_shape(zone, *notes, length=LENGTHS[place.resolution])
    recipe = csv_recipe(shape, CsvSpec(time=time, fields=fields, width=width))
    return _unscaled(recipe) if place.asset in SCALED else recipe


def _unscaled(recipe: Recipe) -> Recipe:
    sizes = ("volume", "qty", "bid_size", "ask_size")

    def load(source: Source) -> Rows:
        rows = recipe.load(source)
        # Dividing, not multiplying by 0.0001: 1234500 / 10000 is the nearest double to 123.45.
        fields = {n: column if n in sizes else column / 10_000 for n, column in rows.fields.items()}
        return msgspec.structs.replace(rows, fields=fields)

    note = "prices divided by 10,000"
    shape = msgspec.structs.replace(recipe.shape, notes=(*recipe.shape.notes, note))
    return Recipe(shape, load)


FORMATS = (Format("lean", "Lean data folder zip", sniff),)
