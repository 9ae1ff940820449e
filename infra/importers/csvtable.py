"""Delimited text to rows: whole blocks by pyarrow, and line by line where a block holds anything odd."""

import csv
from collections.abc import Iterator

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from infra.importers.model import (
    LINE_BYTES_MAX,
    REJECTS_MAX,
    Floats,
    ImportError_,
    Ints,
    Reject,
    Rows,
    as_raw,
)
from infra.importers.source import Source
from infra.importers.times import TimeSpec, day_micros, epoch_micros, parse_column, parse_text

# Measured on 1 million klines: 8 MiB in chunks of 1 MiB (parsed on all cores) is a third faster than one chunk.
BLOCK_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20
CAREFUL_BYTES = 64 << 10


class CsvSpec(msgspec.Struct, frozen=True):
    """fields: numeric columns by name; texts: string columns; width: cells in a row; skip: header lines."""

    time: TimeSpec
    fields: dict[str, int]
    width: int
    texts: dict[str, int] = {}
    delimiter: str = ","
    decimal: str = "."
    skip: int = 0


class BadLine(Exception):
    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason, text)
        self.reason, self.text = reason, text


class _Part(msgspec.Struct):
    wall: Ints
    fields: dict[str, Floats]
    texts: dict[str, list[str]]
    line: Ints
    start: Ints


def load_csv(source: Source, spec: CsvSpec) -> Rows:
    """Every line after the header is a parsed row, a reject, or blank. Errors: ImportError_ for too many rejects."""
    data = source.data
    at, line, header = _skip_header(data, spec.skip)
    parts: list[_Part] = []
    rejects: list[Reject] = []
    pending = list(_blocks(data, at, len(data), BLOCK_BYTES))[::-1]
    while pending:
        begin, end = pending.pop()
        block = data[begin:end]
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10)
        starts = np.concatenate(([0], ends + 1)).astype(np.int64)
        if starts[-1] == len(block):
            starts = starts[:-1]
        part = _fast(block, starts, spec)
        if part is None and len(block) > CAREFUL_BYTES and len(starts) > 1:
            # One bad line costs the speed of its neighbours only.
            pending += list(_blocks(data, begin, end, len(block) // 8))[::-1]
            continue
        if part is None:
            part = _careful(data, starts + begin, line, spec, header, rejects)
        else:
            part.start += begin
            part.line += line
        parts.append(part)
        line += len(starts)
        if len(rejects) > REJECTS_MAX:
            why = f"the first is line {rejects[0].row}: {rejects[0].text}"
            raise ImportError_(f"{source.path} has more than {REJECTS_MAX:,} bad rows ({why}): is it this format?")
    notes = () if data.endswith(b"\n") else ("the last line has no line end: it may be cut off",)
    return _joined(data, parts, rejects, spec, notes)


def _skip_header(data: bytes, skip: int) -> tuple[int, int, bytes]:
    at, line, header = 0, 1, b""
    while skip and at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        if (content := data[at:end].strip()) != b"":
            header, skip = content, skip - 1
        at, line = end + 1, line + 1
    return min(at, len(data)), line, header


def _blocks(data: bytes, at: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of blocks of whole lines, of about `size` bytes, or one longer line."""
    while at < stop:
        end = min(at + size, stop)
        if end < stop:
            cut = data.rfind(b"\n", at, end)
            cut = cut if cut >= 0 else data.find(b"\n", end, stop)
            end = stop if cut < 0 else cut + 1
        yield at, end
        at = end


def _fast(block: bytes, starts: Ints, spec: CsvSpec) -> _Part | None:
    """The block's rows, or None where any line needs care."""
    if (len(starts) > 1 and int(np.diff(starts).max()) > LINE_BYTES_MAX) or len(block) - starts[-1] > LINE_BYTES_MAX:
        return None
    if not block.isascii() and not _is_utf8(block):
        return None
    table = _arrow_table(block, spec)
    if table is None or table.num_rows != len(starts):
        return None
    wall = _wall(table, spec.time)
    if wall is None:
        return None
    fields = {name: _floats(table[f"c{index}"]) for name, index in spec.fields.items()}
    texts = {name: table[f"c{index}"].to_pylist() for name, index in spec.texts.items()}
    return _Part(wall, fields, texts, np.arange(len(wall), dtype=np.int64), starts)


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _arrow_table(block: bytes, spec: CsvSpec) -> pa.Table | None:
    numeric_time = spec.time.style in ("epoch", "day_ms")
    stamp = pa.int64() if spec.time.integer else pa.float64()
    types = dict.fromkeys((f"c{i}" for i in spec.fields.values()), pa.float64())
    types |= dict.fromkeys((f"c{i}" for i in spec.texts.values()), pa.string())
    types |= dict.fromkeys((f"c{i}" for i in spec.time.columns), stamp if numeric_time else pa.string())
    try:
        table = pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(column_names=[f"c{i}" for i in range(spec.width)], block_size=CHUNK_BYTES),
            pacsv.ParseOptions(delimiter=spec.delimiter, ignore_empty_lines=False),
            pacsv.ConvertOptions(
                include_columns=list(types),
                column_types=types,
                null_values=[""],
                strings_can_be_null=False,
                decimal_point=spec.decimal,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError):
        return None
    return None if any(column.null_count for column in table.columns) else table


def _wall(table: pa.Table, spec: TimeSpec) -> Ints | None:
    cells = [table[f"c{i}"].combine_chunks() for i in spec.columns]
    if spec.style == "epoch":
        return epoch_micros(np.asarray(cells[0].to_numpy(zero_copy_only=False)))
    if spec.style == "day_ms":
        return day_micros(np.asarray(cells[0].to_numpy(zero_copy_only=False)), spec.midnight)
    return parse_column(spec, cells[0] if len(cells) == 1 else pc.binary_join_element_wise(*cells, " "))


def _careful(data: bytes, starts: Ints, line: int, spec: CsvSpec, header: bytes, rejects: list[Reject]) -> _Part:
    walls: list[int] = []
    numbers: list[list[float]] = []
    words: list[list[str]] = []
    kept: list[tuple[int, int]] = []
    for offset, start in enumerate(starts.tolist()):
        content, length = _line(data, start)
        if length <= LINE_BYTES_MAX and not content.strip(b" \t\r\0"):
            continue
        try:
            wall, values, texts = _parse(content, length, spec, header)
        except BadLine as bad:
            rejects.append(Reject(line + offset, bad.reason, bad.text, as_raw(content)))
            if len(rejects) > REJECTS_MAX:
                break
            continue
        walls.append(wall)
        numbers.append(values)
        words.append(texts)
        kept.append((line + offset, start))
    columns = np.array(numbers, dtype=np.float64).reshape(-1, len(spec.fields))
    where = np.array(kept, dtype=np.int64).reshape(-1, 2)
    return _Part(
        np.array(walls, dtype=np.int64),
        {name: columns[:, i] for i, name in enumerate(spec.fields)},
        {name: [row[i] for row in words] for i, name in enumerate(spec.texts)},
        where[:, 0],
        where[:, 1],
    )


def _line(data: bytes, start: int) -> tuple[bytes, int]:
    """A line without its end (at most a little over the limit of it), and its length."""
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    content = data[start : min(end, start + LINE_BYTES_MAX + 1)]
    return content.removesuffix(b"\r"), end - start


def _parse(content: bytes, length: int, spec: CsvSpec, header: bytes) -> tuple[int, list[float], list[str]]:
    if length > LINE_BYTES_MAX:
        raise BadLine("line_too_long", f"line of {length:,} bytes, more than {LINE_BYTES_MAX:,}")
    if header and content.strip() == header:
        raise BadLine("repeated_header", "the header line again")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadLine("not_utf8", f"byte {error.start + 1} of the line is not UTF-8") from error
    cells = _cells(text, spec.delimiter)
    if len(cells) < spec.width:
        raise BadLine("truncated", f"{len(cells)} cells where {spec.width} are expected")
    if len(cells) > spec.width:
        raise BadLine("too_many_cells", f"{len(cells)} cells where {spec.width} are expected")
    stamp = " ".join(cells[i] for i in spec.time.columns)
    try:
        wall = parse_text(spec.time, stamp)
    except (ValueError, OverflowError) as error:
        raise BadLine("bad_time", f"stamp {stamp[:40]!r} is not a time") from error
    values = [number(cells[i], name, spec.decimal) for name, i in spec.fields.items()]
    return wall, values, [cells[i] for i in spec.texts.values()]


def _cells(text: str, delimiter: str) -> list[str]:
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter), [])
    except csv.Error as error:
        raise BadLine("truncated", f"quotes do not match ({error})") from error


def number(text: str, name: str, decimal: str = ".") -> float:
    """One numeric cell. Raises BadLine."""
    text = text.strip()
    if not text:
        raise BadLine("missing_value", f"{name} is empty")
    if decimal != ".":
        text = text.replace(decimal, ".")
    try:
        if not text.isascii() or "_" in text:
            raise ValueError(text)
        return float(text)
    except ValueError as error:
        raise BadLine("not_a_number", f"{name} {text[:40]!r} is not a number") from error


def _joined(data: bytes, parts: list[_Part], rejects: list[Reject], spec: CsvSpec, notes: tuple[str, ...]) -> Rows:
    empty = np.empty(0, dtype=np.int64)
    starts = np.concatenate([p.start for p in parts] or [empty])
    return Rows(
        wall=np.concatenate([p.wall for p in parts] or [empty]),
        fields={n: np.concatenate([p.fields[n] for p in parts] or [np.empty(0)]) for n in spec.fields},
        texts={n: [text for p in parts for text in p.texts[n]] for n in spec.texts},
        line=np.concatenate([p.line for p in parts] or [empty]),
        raw=lambda index: as_raw(_line(data, int(starts[index]))[0]),
        rejects=rejects,
        notes=notes,
    )
