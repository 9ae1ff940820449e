"""The table of formats, and `read`: detect, load, finish."""

import difflib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from events import timeframe as timeframes
from infra.importers import (
    arrow,
    binance,
    fxcm,
    generic,
    histdata,
    jsonrows,
    kraken,
    lean,
    metatrader,
)
from infra.importers.model import Imported, ImportError_, Options, about
from infra.importers.pipeline import finish
from infra.importers.recipe import Format, Recipe
from infra.importers.source import Source, open_source

# Order matters: those that look at a signature or a path come before those that look at the shape of rows.
FORMATS: tuple[Format, ...] = (
    *arrow.FORMATS,
    *jsonrows.FORMATS,
    *lean.FORMATS,
    *binance.FORMATS,
    *histdata.FORMATS,
    *metatrader.FORMATS,
    *kraken.FORMATS,
    *fxcm.FORMATS,
    *generic.FORMATS,
)
ARROW = ("feather", "parquet")
BYTES_MAX = 1 << 30


def read(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    timeframe: str | int | None = None,
    timezone: str | None = None,
    stamps: Literal["open", "close"] | None = None,
    columns: Mapping[str, str | int] | None = None,
    side: Literal["bid", "ask", "mid"] | None = None,
    time_format: str | None = None,
    scale: float | None = None,
    now: int | None = None,
    bytes_max: int = BYTES_MAX,
) -> Imported:
    """Reads one market file of any known format; what is None is detected, and the report says what was found.

    format: a name of `FORMATS`. timeframe: '1m' or µs. timezone: IANA name or offset, of the stamps in the file.
    columns: field -> header name or index from 0 (fields: ts, clock, open, high, low, close, volume, count, price,
    qty, side, id, bid, ask, ...). side: of files that have bid and ask. time_format: strptime. scale: factor on
    prices. now: µs UTC, this machine's clock by default; stamps later than a day after it are refused. bytes_max:
    most bytes that are unpacked into memory. Errors: ImportError_, and nothing else.
    """
    options = options_of(
        now=time.time_ns() // 1_000 if now is None else now,
        timeframe=timeframe,
        timezone=timezone,
        stamps=stamps,
        columns=columns,
        side=side,
        time_format=time_format,
        scale=scale,
        bytes_max=bytes_max,
    )
    where = Path(path)
    generic.funding_in_disguise(where.name)
    source = open_source(where, bytes_max)
    # NaN and huge numbers are what the checks are there to find: no warnings about comparing them.
    with about(where), np.errstate(invalid="ignore", over="ignore"):
        name, recipe = recognise(source, format, options)
        rows = recipe.load(source)
        return finish(where, name, rows, recipe.shape, options)


def options_of(
    *,
    now: int,
    timeframe: str | int | None = None,
    stamps: Literal["open", "close"] | None = None,
    columns: Mapping[str, str | int] | None = None,
    side: Literal["bid", "ask", "mid"] | None = None,
    **others: Any,
) -> Options:
    """What a caller of `read` states, checked. Errors: ImportError_."""
    return Options(
        now=now,
        timeframe_us=_micros(timeframe),
        stamps=_one_of("stamps", stamps, ("open", "close")),
        columns=dict(columns) if columns else None,
        side=_one_of("side", side, ("bid", "ask", "mid")),
        **others,
    )


def _micros(timeframe: str | int | None) -> int | None:
    if timeframe is None or isinstance(timeframe, int):
        if timeframe is not None and (timeframe <= 0 or timeframe % 1_000_000):
            raise ImportError_(f"Timeframe {timeframe} µs is not a positive whole number of seconds.")
        return timeframe
    try:
        return timeframes.micros(timeframe)
    except ValueError as error:
        raise ImportError_(f"{error}.") from error


def _one_of(what: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value is not None and value not in allowed:
        raise ImportError_(f"{what} {value!r} is not one of {', '.join(allowed)}.")
    return value


def recognise(source: Source, format: str | None, options: Options) -> tuple[str, Recipe]:
    candidates = FORMATS if format is None else tuple(f for f in FORMATS if f.name == format)
    if not candidates:
        near = difflib.get_close_matches(format or "", [f.name for f in FORMATS], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(f.name for f in FORMATS)}."
        raise ImportError_(f"Format {format!r} is not known: {hint}")
    if options.columns and format is None:
        candidates = tuple(f for f in FORMATS if f.name in (*ARROW, "csv"))
    for candidate in candidates:
        if recipe := candidate.sniff(source, options):
            return candidate.name, recipe
    raise ImportError_(_unrecognised(source, format))


def _unrecognised(source: Source, format: str | None) -> str:
    head = source.head()
    if b"\n" not in source.data and len(source.data) > len(head):
        size = f"its first line has more than {len(head):,} bytes"
        return f"{source.path} is not a text file of rows ({size}): check what it is."
    lines = source.lines()
    first = lines[0][:80] if lines else ""
    what = f"does not look like {format}" if format else "is of no known format"
    return f"{source.path} {what} (it begins {first!r}): state the format, or the columns with a column map."
