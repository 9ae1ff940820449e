"""Candle files of any size in bounded memory: Parquet batch by batch, delimited text piece by piece."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import numpy as np

from events.block import Columns
from infra.importers import arrow
from infra.importers.csvtable import CsvSpec, load_csv
from infra.importers.generic import funding_in_disguise
from infra.importers.model import Imported, ImportError_, ImportReport, Options, Reject, Rows, Shape, about
from infra.importers.pipeline import finish
from infra.importers.reader import options_of, recognise
from infra.importers.recipe import Recipe
from infra.importers.source import DAMAGED, Source, opened, size_of

PIECE_BYTES = 16 << 20
BATCH_ROWS = 131_072


class Parts:
    """Iterate once: Columns in order of time, as `read` of the whole file gives them, piece after piece.

    `report` and `rejects` stand when the last piece was taken; notes are those of the pieces. Rows that repeat or go
    back in time are put right within a piece; across pieces they raise ImportError_, as everything that cannot be
    imported does. Trades and quotes need the whole file: use `read`.
    """

    def __init__(self, path: Path, options: Options, format: str | None) -> None:
        self.path, self._options, self._format = path, options, format
        self.report: ImportReport | None = None
        self.rejects: list[Reject] = []

    def __iter__(self) -> Iterator[Columns]:
        with about(self.path):
            yield from self._in_order()

    def _in_order(self) -> Iterator[Columns]:
        last: int | None = None
        for found in self._imported():
            data = found.data
            if not isinstance(data, Columns):
                raise ImportError_(f"{self.path} holds {found.kind}, which need the whole file: use `read`.")
            self.rejects += found.rejects
            if not len(data):
                self.report = self._added(found.report, None)
                continue
            if last is not None and data.ts[0] <= last:
                raise ImportError_(f"{self.path} is not in order of time: it has to be read as a whole, with `read`.")
            self.report = self._added(found.report, last)
            last = int(data.ts[-1])
            yield data

    def _imported(self) -> Iterator[Imported]:
        funding_in_disguise(self.path.name)
        size_of(self.path)
        with self.path.open("rb") as file:
            magic = file.read(4)
        loaded = self._batches() if magic == b"PAR1" else self._pieces()
        options, line = self._options, 0
        for name, source, shape, rows in loaded:
            with np.errstate(invalid="ignore", over="ignore"):  # as in `read`
                found = finish(self.path, name, _moved(rows, line), shape, options)
            if options.timeframe_us is None and found.report.timeframe_us is not None:
                options = msgspec.structs.replace(options, timeframe_us=found.report.timeframe_us)
            how = found.report.timeframe if self.report is None else self.report.timeframe
            line += rows_in(source, rows)
            yield msgspec.structs.replace(found, report=msgspec.structs.replace(found.report, timeframe=how))

    def _batches(self) -> Iterator[tuple[str, Source | None, Shape, Rows]]:
        import pyarrow as pa
        import pyarrow.parquet as parquet

        source = Source(self.path, self.path.name, b"")
        recipe: Recipe | None = None
        try:
            # Buffering ahead would keep all that was read: 600 MB at ten million rows.
            with parquet.ParquetFile(self.path, pre_buffer=False) as file:
                for batch in file.iter_batches(BATCH_ROWS):
                    table = pa.Table.from_batches([batch])
                    if recipe is None:
                        recipe = arrow.recipe_of(source, table, self._options, "parquet")
                    rows = cast(Callable[..., Rows], recipe.load)(source, table=table)
                    yield "parquet", None, recipe.shape, rows
        except arrow.BROKEN as error:
            reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
            raise ImportError_(f"{self.path} is not a readable parquet file ({reason}): get the file again.") from error
        if recipe is None:
            raise ImportError_(f"{self.path} has no rows: nothing to import.")

    def _pieces(self) -> Iterator[tuple[str, Source | None, Shape, Rows]]:
        name, spec, shape = "", None, None
        for source in self._sources():
            if spec is None or shape is None:
                name, recipe = recognise(source, self._format, self._options)
                spec, shape = _spec(self.path, recipe), recipe.shape
            elif not source.data.strip():
                continue
            yield name, source, shape, load_csv(source, spec)
            spec = msgspec.structs.replace(spec, skip=0)

    def _sources(self) -> Iterator[Source]:
        with ExitStack() as stack:
            try:
                name, file = opened(self.path, stack)
                for first, piece in _cut(file):
                    data = piece.removeprefix(b"\xef\xbb\xbf") if first else piece
                    if first and piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
                        raise ImportError_(f"{self.path} is UTF-16, which needs the whole file: use `read`.")
                    yield Source(self.path, name, data)
            except DAMAGED as error:
                raise ImportError_(f"{self.path} is corrupt ({error}): get the file again.") from error
            except (OSError, RuntimeError, NotImplementedError, ValueError) as error:
                raise ImportError_(f"{self.path} cannot be read ({error}): check it and its permissions.") from error

    def _added(self, one: ImportReport, last: int | None) -> ImportReport:
        """The report of all pieces up to this one; `last` ends the piece before."""
        if self.report is None:
            return one
        before = self.report
        sums = {n: getattr(before, n) + getattr(one, n) for n in ("rows", "accepted", "duplicates", "out_of_order",
                "rejected", "gaps", "missing")}  # fmt: skip
        if last is not None and one.first_ts is not None and one.timeframe_us:
            missing = round((one.first_ts - last) / one.timeframe_us) - 1
            sums["gaps"] += missing > 0
            sums["missing"] += max(missing, 0)
        notes = (*before.notes, *(note for note in one.notes if note not in before.notes))
        ends = {"first_ts": one.first_ts if before.first_ts is None else before.first_ts,
                "last_ts": before.last_ts if one.last_ts is None else one.last_ts}  # fmt: skip
        return msgspec.structs.replace(before, **sums, **ends, notes=notes)


def read_parts(path: str | Path, *, format: str | None = None, **stated: Any) -> Parts:
    """A candle file of any size, in bounded memory. `stated` as `read` takes it. Errors: ImportError_."""
    return Parts(Path(path), options_of(now=stated.pop("now", None) or time.time_ns() // 1_000, **stated), format)


def _spec(path: Path, recipe: Recipe) -> CsvSpec:
    spec = getattr(recipe.load, "keywords", {}).get("spec")
    if not isinstance(spec, CsvSpec):
        raise ImportError_(f"{path} is of a format that needs the whole file: use `read`.")
    return spec


def _cut(file: IO[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Pieces of whole lines, and whether it is the first."""
    rest, first = b"", True
    while data := file.read(PIECE_BYTES):
        data = rest + data if rest else data
        end = data.rfind(b"\n") + 1
        if not end:
            rest = data
            continue
        rest = data[end:]
        yield first, data[:end] if rest else data
        first = False
    if rest:
        yield first, rest


def rows_in(source: Source | None, rows: Rows) -> int:
    """By how much the numbers of the rows that follow are higher: lines of text, else rows."""
    if source is None:
        return rows.size()
    return int(np.count_nonzero(np.frombuffer(source.data, np.uint8) == 10))


def _moved(rows: Rows, by: int) -> Rows:
    if not by:
        return rows
    line = range(rows.line.start + by, rows.line.stop + by) if isinstance(rows.line, range) else rows.line + by
    rejects = [msgspec.structs.replace(one, row=one.row + by) for one in rows.rejects]
    return msgspec.structs.replace(rows, line=line, rejects=rejects)
