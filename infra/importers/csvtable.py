"""Delimited text to rows: whole blocks by pyarrow, and line by line where a block holds anything odd."""

import bisect
import csv
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
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
from infra.importers.times import TimeSpec, day_micros, epoch_micros, numbers, parse_column, parse_text

# Measured on 1 million klines: 4 MiB a thread, in chunks of 1 MiB, is as fast as Arrow's own threads, and leaves the
# checks and the stamps of a block to the thread that parsed it.
BLOCK_BYTES = 4 << 20
CHUNK_BYTES = 1 << 20
CAREFUL_BYTES = 64 << 10
THREADS = min(4, os.cpu_count() or 1)


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
    """Rows of the lines from `line` on that lie at `begin` to `end`. places: line and offset of each row, or None
    where every line is a row."""

    begin: int
    end: int
    line: int
    lines: int
    wall: list[Ints]
    fields: dict[str, list[Floats]]
    texts: dict[str, list[str]]
    places: tuple[Ints, Ints] | None = None

    def rows(self) -> int:
        return self.lines if self.places is None else len(self.places[0])


def load_csv(source: Source, spec: CsvSpec) -> Rows:
    """Every line after the header is a parsed row, a reject, or blank. Errors: ImportError_ for too many rejects."""
    data = source.data
    at, line, header = _skip_header(data, spec.skip)
    parts: list[_Part] = []
    rejects: list[Reject] = []
    for begin, end, found in _tried(data, at, spec):
        part = found
        if part is None:
            part = _careful(data, begin, end, line, spec, header, rejects)
        part.line = line
        parts.append(part)
        line += part.lines
        if len(rejects) > REJECTS_MAX:
            why = f"the first is line {rejects[0].row}: {rejects[0].text}"
            raise ImportError_(f"{source.path} has more than {REJECTS_MAX:,} bad rows ({why}): is it this format?")
    notes = () if data.endswith(b"\n") else ("the last line has no line end: it may be cut off",)
    return _joined(data, parts, rejects, spec, notes)


Tried = tuple[int, int, _Part | None]


def _tried(data: bytes, at: int, spec: CsvSpec) -> Iterator[Tried]:
    """Blocks in order, parsed on a few threads; None in place of a block that is short and needs care."""
    blocks = _blocks(data, at, len(data), BLOCK_BYTES)
    if len(data) - at <= BLOCK_BYTES:
        for begin, end in blocks:
            yield from _settled(data, begin, end, _fast(data, begin, end, spec), spec)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        ahead: deque[tuple[int, int, Future[_Part | None]]] = deque()
        try:
            for begin, end in blocks:
                ahead.append((begin, end, pool.submit(_fast, data, begin, end, spec)))
                if len(ahead) > 2 * THREADS:
                    yield from _next(data, ahead, spec)
            while ahead:
                yield from _next(data, ahead, spec)
        finally:
            for _, _, future in ahead:
                future.cancel()


def _next(data: bytes, ahead: deque[tuple[int, int, Future[_Part | None]]], spec: CsvSpec) -> Iterator[Tried]:
    begin, end, future = ahead.popleft()
    yield from _settled(data, begin, end, future.result(), spec)


def _settled(data: bytes, begin: int, end: int, part: _Part | None, spec: CsvSpec) -> Iterator[Tried]:
    """One bad line costs the speed of its neighbours only: a block with one is cut into smaller ones."""
    small = end - begin <= CAREFUL_BYTES or data.find(b"\n", begin, end - 1) < 0
    if part is not None or small:
        yield begin, end, part
        return
    for first, last in _blocks(data, begin, end, (end - begin) // 8):
        yield from _settled(data, first, last, _fast(data, first, last, spec), spec)


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


def _fast(data: bytes, begin: int, end: int, spec: CsvSpec) -> _Part | None:
    """The block's rows, or None where any line needs care."""
    block = np.frombuffer(data, dtype=np.uint8, count=end - begin, offset=begin)
    lines = int(np.count_nonzero(block == 10)) + (data[end - 1] != 10)
    if _has_long_line(data, begin, end):
        return None
    if np.bitwise_or.reduce(block) >= 128 and not _is_utf8(data[begin:end]):
        return None
    table = _arrow_table(pa.py_buffer(data).slice(begin, end - begin), spec)
    if table is None or table.num_rows != lines:
        return None
    wall = _wall(table, spec.time)
    if wall is None:
        return None
    fields = {
        name: [numbers(chunk, np.float64) for chunk in table[f"c{index}"].chunks] for name, index in spec.fields.items()
    }
    texts = {name: table[f"c{index}"].to_pylist() for name, index in spec.texts.items()}
    return _Part(begin, end, 0, lines, wall, fields, texts)


def _has_long_line(data: bytes, begin: int, end: int) -> bool:
    """A line over the limit covers half the limit without a line end: few bytes are looked at where none does."""
    half = LINE_BYTES_MAX // 2
    if all(data.find(b"\n", at, at + half) >= 0 for at in range(begin, end - half, half)):
        return False
    starts = _starts(data, begin, end)
    return (len(starts) > 1 and int(np.diff(starts).max()) > LINE_BYTES_MAX) or end - starts[-1] > LINE_BYTES_MAX


def _starts(data: bytes, begin: int, end: int) -> Ints:
    """Offsets of the lines in a block."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8, count=end - begin, offset=begin) == 10)
    starts = np.concatenate(([0], ends + 1)).astype(np.int64) + begin
    return starts[:-1] if starts[-1] == end else starts


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode()
    except UnicodeDecodeError:
        return False
    return True


def _arrow_table(block: pa.Buffer, spec: CsvSpec) -> pa.Table | None:
    numeric_time = spec.time.style in ("epoch", "day_ms")
    stamp = pa.int64() if spec.time.integer else pa.float64()
    types = dict.fromkeys((f"c{i}" for i in spec.fields.values()), pa.float64())
    types |= dict.fromkeys((f"c{i}" for i in spec.texts.values()), pa.string())
    types |= dict.fromkeys((f"c{i}" for i in spec.time.columns), stamp if numeric_time else pa.string())
    try:
        table = pacsv.read_csv(
            pa.BufferReader(block),
            pacsv.ReadOptions(
                column_names=[f"c{i}" for i in range(spec.width)], block_size=CHUNK_BYTES, use_threads=False
            ),
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


def _wall(table: pa.Table, spec: TimeSpec) -> list[Ints] | None:
    cells = [table[f"c{i}"] for i in spec.columns]
    if spec.style in ("epoch", "day_ms"):
        kind = np.int64 if spec.integer else np.float64
        stamps = [numbers(chunk, kind) for chunk in cells[0].chunks]
        return [epoch_micros(one) if spec.style == "epoch" else day_micros(one, spec.midnight) for one in stamps]
    texts = cells[0].combine_chunks()
    if len(cells) > 1:
        import pyarrow.compute as pc  # as in `times.parse_column`

        texts = pc.binary_join_element_wise(*(cell.combine_chunks() for cell in cells), " ")
    wall = parse_column(spec, texts)
    return None if wall is None else [wall]


def _careful(
    data: bytes, begin: int, end: int, line: int, spec: CsvSpec, header: bytes, rejects: list[Reject]
) -> _Part:
    walls: list[int] = []
    figures: list[list[float]] = []
    words: list[list[str]] = []
    kept: list[tuple[int, int]] = []
    starts = _starts(data, begin, end).tolist()
    for offset, start in enumerate(starts):
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
        figures.append(values)
        words.append(texts)
        kept.append((line + offset, start))
    columns = np.array(figures, dtype=np.float64).reshape(-1, len(spec.fields))
    where = np.array(kept, dtype=np.int64).reshape(-1, 2)
    fields = {name: [columns[:, i]] for i, name in enumerate(spec.fields)}
    rows_of = {name: [row[i] for row in words] for i, name in enumerate(spec.texts)}
    stamps = [np.array(walls, dtype=np.int64)]
    return _Part(begin, end, line, len(starts), stamps, fields, rows_of, (where[:, 0], where[:, 1]))


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
    fields = {n: _flat([one for p in parts for one in p.fields[n]], np.float64) for n in spec.fields}
    return Rows(
        wall=_flat([one for p in parts for one in p.wall], np.int64),
        fields=fields,
        texts={n: [text for p in parts for text in p.texts[n]] for n in spec.texts},
        line=_lines(parts),
        raw=_Raw(data, parts),
        rejects=rejects,
        notes=notes,
    )


def _flat(columns: list[npt.NDArray[Any]], kind: type[np.generic]) -> npt.NDArray[Any]:
    return np.concatenate(columns) if columns else np.empty(0, kind)


def _lines(parts: list[_Part]) -> Ints | range:
    if all(p.places is None for p in parts):
        first = parts[0].line if parts else 0
        return range(first, first + sum(p.lines for p in parts))
    own = [p.places[0] if p.places is not None else np.arange(p.line, p.line + p.lines) for p in parts]
    return np.concatenate(own).astype(np.int64)


class _Raw:
    """The bytes of a row; where the lines of a block begin is looked up only for blocks that are asked for."""

    def __init__(self, data: bytes, parts: list[_Part]) -> None:
        self._data, self._parts = data, parts
        self._ends = np.cumsum([part.rows() for part in parts]).tolist()
        self._known: tuple[int, Ints] = (-1, np.empty(0, np.int64))

    def __call__(self, row: int) -> bytes:
        at = bisect.bisect_right(self._ends, row)
        part = self._parts[at]
        if self._known[0] != at:
            places = part.places[1] if part.places is not None else _starts(self._data, part.begin, part.end)
            self._known = at, places
        first = self._ends[at] - part.rows()
        return as_raw(_line(self._data, int(self._known[1][row - first]))[0])
