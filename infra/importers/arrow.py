"""Feather (freqtrade candles and trades) and Parquet, by column names or a column map."""

from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from infra.importers.generic import OPTIONAL_NUMBERS, shape_of
from infra.importers.model import Choice, Floats, ImportError_, Ints, Kind, Mask, Options, Reject, Rows, as_raw
from infra.importers.naming import TEXTS, fields_of, mapped
from infra.importers.recipe import OPEN_DETECTED, UTC_DETECTED, Format, Recipe
from infra.importers.source import Source
from infra.importers.times import BAD_TIME, TimeSpec, detect_style, epoch_micros, numbers, parse_column, parse_text

ROWS_MAX = 100_000_000
BROKEN = (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError, UnicodeDecodeError)


def feather_file(source: Source, options: Options) -> Recipe | None:
    if source.data[:6] not in (b"ARROW1",) and source.data[:4] != b"FEA1":
        return None
    return _recipe(source, options, "feather")


def parquet_file(source: Source, options: Options) -> Recipe | None:
    if source.data[:4] != b"PAR1":
        return None
    return _recipe(source, options, "parquet")


def _table(source: Source, what: str) -> pa.Table:
    try:
        buffer = pa.BufferReader(source.data)
        if what == "parquet":
            import pyarrow.parquet as parquet

            file = parquet.ParquetFile(buffer)
            if file.metadata.num_rows > ROWS_MAX:
                raise ImportError_(f"{source.path} has more than {ROWS_MAX:,} rows: split the file.")
            table = file.read()
        else:
            import pyarrow.feather as feather

            table = feather.read_table(buffer)
        table.validate(full=True)
        # Damaged names of columns and zones raise here, where it is known what to say.
        _ = table.schema.names, [kind.tz for kind in table.schema.types if pa.types.is_timestamp(kind)]
    except ImportError_:
        raise
    except BROKEN as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise ImportError_(f"{source.path} is not a readable {what} file ({reason}): get the file again.") from error
    return table


def _recipe(source: Source, options: Options, what: str) -> Recipe:
    return recipe_of(source, _table(source, what), options, what)


def recipe_of(source: Source, table: pa.Table, options: Options, what: str) -> Recipe:
    names = [str(name) for name in table.schema.names]
    if table.num_rows == 0:
        raise ImportError_(f"{source.path} has no rows: nothing to import.")
    found = mapped(options.columns, names, len(names)) if options.columns else fields_of(names)
    if found is None:
        listed = ", ".join(names[:20])
        raise ImportError_(f"{source.path} has columns {listed}: state which is which with a column map.")
    kind, fields = found
    _not_funding(source, table, kind, fields)
    zone_style = _style(table, fields, options)
    shape = shape_of(kind, zone_style.style, fields, names)
    if what == "feather" and names[0] == "date":
        # freqtrade's own layout: UTC stamps of the open time.
        shape = msgspec.structs.replace(shape, stamps=OPEN_DETECTED, zone=UTC_DETECTED)
    elif pa.types.is_timestamp(table.schema.types[fields["ts"]]) and table.schema.types[fields["ts"]].tz:
        shape = msgspec.structs.replace(shape, zone=Choice("UTC", "detected"))
    return Recipe(shape, partial(_rows, table=table, fields=fields, style=zone_style))


def _not_funding(source: Source, table: pa.Table, kind: Kind, fields: dict[str, int]) -> None:
    if kind != "candles" or "high" not in fields:
        return
    highs, _ = _floats(table.column(fields["high"]))
    lows, _ = _floats(table.column(fields["low"]))
    if not (highs != 0).any() and not (lows != 0).any():
        raise ImportError_(f"{source.path} has no prices (funding rates?): import a candle, trade or quote file.")


def _style(table: pa.Table, fields: dict[str, int], options: Options) -> TimeSpec:
    kind = table.schema.types[fields["ts"]]
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return TimeSpec(columns=(0,), style="iso")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return TimeSpec(columns=(0,), style="epoch")
    if options.time_format:
        return TimeSpec(columns=(0,), style=options.time_format)
    samples = [str(value) for value in table.column(fields["ts"]).slice(0, 200).to_pylist()]
    style = detect_style(samples)
    if style is None:
        raise ImportError_(f"Stamps such as {samples[:1]} are not understood: state the time format.")
    return style


def _rows(source: Source, table: pa.Table, fields: dict[str, int], style: TimeSpec) -> Rows:
    wall = _stamps(table.column(fields["ts"]), style)
    numeric: dict[str, Floats] = {}
    missing: Mask | None = None
    for name, index in fields.items():
        if name in ("ts", "clock", *TEXTS):
            continue
        values, nulls = _floats(table.column(index))
        if nulls is not None and nulls.all() and name in OPTIONAL_NUMBERS:
            continue
        numeric[name] = values
        if nulls is not None:
            missing = nulls if missing is None else missing | nulls
    texts = {
        name: ["" if v is None else str(v) for v in table.column(i).to_pylist()]
        for name, i in fields.items()
        if name in TEXTS
    }

    def raw(row: int) -> bytes:
        return as_raw(
            "; ".join(
                f"{table.schema.names[i]}={_shown(table.column(i), row)}" for i in range(table.num_columns)
            ).encode()
        )

    if missing is None or not missing.any():
        return Rows(wall, numeric, texts, range(1, table.num_rows + 1), raw, [])
    good = np.flatnonzero(~missing)
    rejects = [
        Reject(row + 1, "missing_value", "a value is empty or not a number", raw(row))
        for row in np.flatnonzero(missing).tolist()
    ]
    return Rows(
        wall=wall[good],
        fields={name: column[good] for name, column in numeric.items()},
        texts={name: [values[i] for i in good.tolist()] for name, values in texts.items()},
        line=good + 1,
        raw=lambda index: raw(int(good[index])),
        rejects=rejects,
    )


def _shown(column: pa.ChunkedArray, row: int) -> str:
    """One value, as written; numbers beneath a time that Python cannot hold."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int64()) if not pa.types.is_date32(column.type) else column
    try:
        return str(column[row].as_py())
    except BROKEN:
        return "?"


def _floats(column: pa.ChunkedArray) -> tuple[Floats, Mask | None]:
    """Values (0 for null) and where there was none, None for nowhere; text columns are read number by number."""
    if column.type == pa.float64() and not column.null_count:
        return _joined(column, np.float64), None
    import pyarrow.compute as pc  # 50 ms that plain columns can spare

    nulls = np.asarray(column.is_null().to_numpy(), dtype=np.bool_)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        values = [_number(value) for value in column.to_pylist()]
        return np.array([0.0 if v is None else v for v in values]), np.array([v is None for v in values])
    if pa.types.is_null(column.type) or pa.types.is_boolean(column.type):
        return np.zeros(len(column)), np.ones(len(column), dtype=np.bool_)
    try:
        cast = pc.cast(column, pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise ImportError_(f"A column of type {column.type} is not a number: check the column map.") from error
    return np.asarray(pc.fill_null(cast, 0.0).to_numpy(), dtype=np.float64), nulls


def _joined(column: pa.ChunkedArray, kind: type[np.generic]) -> Any:
    """A column without nulls: where it lies if it is in one piece."""
    return numbers(column.chunk(0) if column.num_chunks == 1 else column, kind)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None and text.isascii() and "_" not in text else None
    except ValueError:
        return None


def _stamps(column: pa.ChunkedArray, style: TimeSpec) -> Ints:
    kind = column.type
    ticks: Ints
    if (
        (pa.types.is_timestamp(kind) or kind == pa.int64())
        and not column.null_count
        and style.style in ("iso", "epoch")
    ):
        ticks = _joined(column, np.int64)
        if not pa.types.is_timestamp(kind):
            return epoch_micros(ticks)
        factor = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0}[kind.unit]
        if factor and len(ticks) and ticks.min() > -4e18 / factor and ticks.max() < 4e18 / factor:
            return ticks * factor if factor > 1 else ticks
    import pyarrow.compute as pc  # as in `_floats`

    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("s"))
        unit = column.type.unit
        ticks = np.asarray(pc.fill_null(column.cast(pa.int64()), BAD_TIME).to_numpy(), dtype=np.int64)
        if unit in ("ns", "us"):
            return np.where(ticks == BAD_TIME, BAD_TIME, ticks // 1_000 if unit == "ns" else ticks)
        factor = 1_000 if unit == "ms" else 1_000_000
        sane = np.abs(ticks // 2) < 4e18 / factor
        return np.where(sane, np.where(sane, ticks, 0) * factor, BAD_TIME)
    if style.style == "epoch" and not pa.types.is_string(kind):
        if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
            filled = np.asarray(pc.fill_null(column.cast(pa.int64()), 0).to_numpy(), dtype=np.int64)
            return epoch_micros(filled)
        return epoch_micros(np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64))
    texts = column.cast(pa.string()).combine_chunks()
    fast = None if texts.null_count or style.style == "epoch" else parse_column(style, texts)
    if fast is not None:
        return fast
    return np.array([_stamp(style, text) for text in texts.to_pylist()], dtype=np.int64)


def _stamp(style: TimeSpec, text: str | None) -> int:
    try:
        return parse_text(style, text or "")
    except (ValueError, OverflowError):
        return int(BAD_TIME)


FORMATS = (
    Format("feather", "Feather: freqtrade candles and trades, or known column names", feather_file),
    Format("parquet", "Parquet with known column names, or a column map", parquet_file),
)
