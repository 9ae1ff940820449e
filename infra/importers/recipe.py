"""What every format module provides: a name, a sniff, and through it a way to load."""

import re
from collections.abc import Callable
from functools import partial

import msgspec

from infra.importers.csvtable import CsvSpec, load_csv
from infra.importers.model import Choice, Kind, Options, Rows, Shape
from infra.importers.source import Source

UTC_DETECTED = Choice("UTC", "detected")
UTC_ASSUMED = Choice("UTC", "assumed")
OPEN_DETECTED = Choice("open", "detected")
OPEN_ASSUMED = Choice("open", "assumed")


class Recipe(msgspec.Struct, frozen=True):
    """A format recognised in a source: what its data is, and how to get its rows."""

    shape: Shape
    load: Callable[[Source], Rows]


class Format(msgspec.Struct, frozen=True):
    """sniff: a recipe where the content is of this format, else None; ImportError_ where it is but cannot be used."""

    name: str
    about: str
    sniff: Callable[[Source, Options], Recipe | None]


def csv_recipe(shape: Shape, spec: CsvSpec) -> Recipe:
    return Recipe(shape, partial(load_csv, spec=spec))


def candle_shape(zone: Choice, *notes: str, length: int | None = None) -> Shape:
    """Candles stamped by their open time, as the format defines it."""
    return Shape(kind="candles", zone=zone, stamps=OPEN_DETECTED, timeframe_us=length, notes=notes)


def tick_shape(kind: Kind, zone: Choice, *notes: str) -> Shape:
    return Shape(kind=kind, zone=zone, stamps=OPEN_DETECTED, notes=notes)


def is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", text) is not None


def is_epoch(text: str) -> bool:
    """A stamp of the years 1973 to 5138 in s, ms, µs or ns."""
    return re.fullmatch(r"\s*\d{9,19}(\.\d+)?\s*", text) is not None


def majority(lines: list[str], test: Callable[[list[str]], bool], delimiter: str = ",") -> bool:
    """Whether more than half of the first lines look right, so that a few bad rows do not hide a format."""
    cells = [line.split(delimiter) for line in lines[:50]]
    return bool(cells) and sum(1 for row in cells if test(row)) * 2 > len(cells)


def skip_of(lines: list[str]) -> int:
    """1 where the first line is a header: none of its cells is a number or a date."""
    first = lines[0] if lines else ""
    cells = re.split(r"[,;\t|]", first)
    return 0 if any(re.match(r'\s*"?[+-]?\d', cell) for cell in cells) else 1
