"""Any delimited text with a header whose names are known, or with a column map."""

import csv
import re
from statistics import mode

import msgspec

from infra.importers.csvtable import CsvSpec
from infra.importers.model import Choice, ImportError_, Kind, Options, Shape
from infra.importers.naming import TEXTS, fields_of, mapped
from infra.importers.recipe import (
    OPEN_ASSUMED,
    UTC_ASSUMED,
    UTC_DETECTED,
    Format,
    Recipe,
    csv_recipe,
    skip_of,
)
from infra.importers.source import Source
from infra.importers.times import TimeSpec, detect_style

# The comma last: where another one fits as well, the commas are decimal ones.
DELIMITERS = (";", "\t", "|", ",")
PREFACE_MAX = 5
OPTIONAL_NUMBERS = ("volume", "count", "bid_size", "ask_size")


class Layout(msgspec.Struct, frozen=True):
    """skip: lines before the rows, the header being the last of them."""

    delimiter: str
    width: int
    header: list[str] | None
    rows: list[list[str]]
    skip: int


def sniff(source: Source, options: Options) -> Recipe | None:
    layout = _layout(source.lines())
    if layout is None:
        return None
    if options.columns:
        kind, fields = mapped(options.columns, layout.header, layout.width)
    elif layout.header and (found := fields_of(layout.header)):
        kind, fields = found
    else:
        return None
    rows = layout.rows
    fields = {n: i for n, i in fields.items() if n not in OPTIONAL_NUMBERS or any(row[i].strip() for row in rows)}
    spec = spec_of(layout, fields, options.time_format)
    if spec is None:
        return None
    shape = shape_of(kind, spec.time.style, fields, layout.header)
    if layout.skip > 1:
        shape = msgspec.structs.replace(shape, notes=(f"{layout.skip - 1} lines before the header left out",))
    return csv_recipe(shape, spec)


def _layout(lines: list[str]) -> Layout | None:
    best: Layout | None = None
    best_fit = (False, 0)
    for delimiter in DELIMITERS:
        rows = [_split(line, delimiter) for line in lines[:200]]
        widths = [len(cells) for cells in rows]
        width = mode(widths) if widths else 0
        if width < 2 or widths.count(width) * 2 <= len(widths):
            continue
        header, skip = _header(lines, rows, width)
        # A header that has the rows' width speaks for the delimiter; decimal commas can look like more cells.
        fit = (header is not None, width)
        if fit > best_fit:
            body = [cells for cells in rows[skip:] if len(cells) == width]
            best, best_fit = Layout(delimiter, width, header, body, skip), fit
    return best


def _header(lines: list[str], rows: list[list[str]], width: int) -> tuple[list[str] | None, int]:
    """The names of the columns and the number of lines up to them.

    Some sites put a line of their own first; some exports forget to name the time of day beside the date.
    """
    at = next((i for i, cells in enumerate(rows[:PREFACE_MAX]) if len(cells) in (width, width - 1)), 0)
    first = rows[at]
    after = rows[at + 1] if at + 1 < len(rows) else []
    if not skip_of(lines[at : at + 1]):
        return None, 0
    if len(first) == width:
        return first, at + 1
    if len(after) == width and re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", after[1].strip()):
        return [first[0], "Time", *first[1:]], at + 1
    return None, 0


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return []


def spec_of(layout: Layout, fields: dict[str, int], time_format: str | None) -> CsvSpec | None:
    columns = (fields["ts"], fields["clock"]) if "clock" in fields else (fields["ts"],)
    samples = [" ".join(cells[i] for i in columns) for cells in layout.rows]
    if time_format:
        time: TimeSpec | None = TimeSpec(columns=(0,), style=time_format)
    else:
        time = detect_style(samples)
    if time is None:
        return None
    return CsvSpec(
        time=msgspec.structs.replace(time, columns=columns),
        fields={n: i for n, i in fields.items() if n not in ("ts", "clock", *TEXTS)},
        texts={n: i for n, i in fields.items() if n in TEXTS},
        width=layout.width,
        delimiter=layout.delimiter,
        decimal=_decimal(layout, fields),
        skip=layout.skip,
    )


def _decimal(layout: Layout, fields: dict[str, int]) -> str:
    if layout.delimiter == ",":
        return "."
    column = next(fields[n] for n in ("open", "price", "bid", "bid_open") if n in fields)
    cells = [cells[column] for cells in layout.rows]
    commas = sum(1 for cell in cells if re.fullmatch(r"\s*\d+,\d+\s*", cell))
    return "," if commas * 2 > len(cells) else "."


def shape_of(kind: Kind, style: str, fields: dict[str, int], header: list[str] | None) -> Shape:
    """Stamps with an offset and epoch numbers are UTC; other texts are taken for it unless stated."""
    zone = UTC_DETECTED if style in ("epoch", "isoz") else UTC_ASSUMED
    stamps = OPEN_ASSUMED
    name = header[fields["ts"]].lower() if header else ""
    if "open" in name or "close" in name:
        stamps = Choice("open" if "open" in name else "close", "detected")
    elif "utc" in name or "gmt" in name:
        zone = UTC_DETECTED
    return Shape(kind=kind, zone=zone, stamps=stamps)


def funding_in_disguise(name: str) -> None:
    """Errors: ImportError_ for funding rates, which some tools store in the columns of candles."""
    if "funding_rate" in name.lower():
        raise ImportError_(f"{name} holds funding rates, not candles: import a candle, trade or quote file.")


FORMATS = (Format("csv", "CSV with a header of known names, or a column map", sniff),)
