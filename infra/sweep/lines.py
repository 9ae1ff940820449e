"""The file of results: one CSV line a run, written when the run has ended; what is there is not played again."""

from __future__ import annotations

import csv
import fcntl
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from infra.sweep.errors import SweepError
from infra.sweep.summary import FIGURES

NAME = "results.csv"
_BEFORE = ("key", "instrument", "period")
_AFTER = ("digest", "error", "seconds")
Keys = NDArray[np.uint64]
"""Of runs; 8 bytes each, so that memory does not grow with what is written of them."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `params` and `figures` by name; a figure that the data do not determine is None."""

    key: str
    instrument: str
    period: str
    params: dict[str, Any]
    figures: dict[str, float | None]
    digest: str = ""
    error: str = ""
    seconds: float = 0.0


class Results:
    """The file in a folder, made where there is none. A last line that is not whole is cut off.

    Parameters stand in columns named `param.NAME`, as JSON; text as it is. Raises SweepError where the file is
    of a sweep over other parameters, or cannot be read or written.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.path = folder / NAME
        self._names = tuple(names)
        self._columns = (*_BEFORE, *(f"param.{name}" for name in names), *FIGURES, *_AFTER)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+", newline="", encoding="utf-8")
        except OSError as error:
            raise SweepError(f"{folder} cannot be written: {error.strerror}; name another folder with --out") from error
        try:
            self._begin()
        except BaseException:
            self._file.close()
            raise

    def _begin(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SweepError(f"another sweep writes {self.path}: wait for it, or name another with --out") from error
        self._file.seek(0)
        first = next(csv.reader(self._file), None)
        if first is not None and tuple(first) != self._columns:
            raise SweepError(f"{self.path} is of another sweep, or of another version: name another folder with --out")
        end = _whole(self.path)
        os.truncate(self.path, end)
        self._file.seek(0, os.SEEK_END)
        if not end:
            self._file.write(_text(self._columns))
            self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: Line) -> None:
        params = [_written(line.params[name]) for name in self._names]
        figures = [line.figures.get(name) for name in FIGURES]
        seconds = f"{line.seconds:.6f}"
        self._file.write(
            _text([line.key, line.instrument, line.period, *params, *figures, line.digest, line.error, seconds])
        )
        self._file.flush()

    def __iter__(self) -> Iterator[Line]:
        """All lines, in the order in which they were written; memory does not grow with them."""
        self._file.flush()
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            next(rows, None)
            count = len(self._names)
            for row in rows:
                if len(row) != len(self._columns):
                    raise SweepError(f"{self.path}, line {rows.line_num}: {len(row)} columns, not {len(self._columns)}")
                yield self._line(row, count, rows.line_num)

    def _line(self, row: list[str], count: int, number: int) -> Line:
        key, instrument, period, *rest = row
        digest, error, seconds = rest[-3:]
        try:
            figures = {name: float(one) if one else None for name, one in zip(FIGURES, rest[count:-3], strict=True)}
            return Line(
                key=key, instrument=instrument, period=period, digest=digest, error=error, seconds=float(seconds),
                params=dict(zip(self._names, map(_read, rest[:count]), strict=True)), figures=figures,
            )  # fmt: skip
        except ValueError as problem:
            raise SweepError(f"{self.path}, line {number}: {problem}") from problem

    def done(self, digest: bool) -> Keys:
        """Of the runs that need not be played again: those without an error, and with a digest where one is wanted."""
        return as_keys(line.key for line in self if not line.error and (line.digest or not digest))

    def of(self, keys: Keys) -> Iterator[Line]:
        """The last line of each of these runs."""
        found = as_keys(line.key for line in self)
        _, from_end = np.unique(found[::-1], return_index=True)
        wanted = np.zeros(len(found), np.bool_)
        wanted[len(found) - 1 - from_end] = True
        wanted &= np.isin(found, keys)
        yield from (line for line, one in zip(self, wanted.tolist(), strict=True) if one)


def _whole(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 65_536)
            file.seek(start)
            place = file.read(end - start).rfind(b"\n")
            if place >= 0:
                return start + place + 1
            end = start
    return 0


def _text(values: Sequence[Any]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(["" if value is None else value for value in values])
    return out.getvalue()


def _written(value: Any) -> str:
    """A text that would be read as something else is written as JSON."""
    if isinstance(value, str) and value.isprintable() and _read(value) == value:
        return value
    return msgspec.json.encode(value).decode()


def _read(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def as_keys(found: Iterable[str]) -> Keys:
    return np.fromiter((int(one, 16) for one in found), np.uint64)


def as_line(key: str, instrument: str, period: str, params: Mapping[str, Any], outcome: Any) -> Line:
    """`outcome`: of `infra.sweep.study`."""
    return Line(
        key=key, instrument=instrument, period=period, params=dict(params), digest=outcome.digest, error=outcome.error,
        figures={} if outcome.summary is None else msgspec.structs.asdict(outcome.summary), seconds=outcome.seconds,
    )  # fmt: skip
