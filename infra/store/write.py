"""Appending: what is not sealed was never written."""

from __future__ import annotations

import fcntl
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np

from events.block import Columns
from infra.store.layout import ALIGN, CANDLES, PAGE, TRADES, Footer, Section, Segment, Series, StoreError, trailer_of
from infra.store.layout import segments as segments_of
from infra.store.trades import Ids

SUFFIX = ".store"
SPOOL = 16 << 20  # a column's bytes in memory; more of them wait in a file beside the store


class TradeLike(Protocol):
    """`infra.importers.TradeColumns` and `Trades`."""

    @property
    def ts(self) -> Any: ...
    @property
    def price(self) -> Any: ...
    @property
    def qty(self) -> Any: ...
    @property
    def side(self) -> Any: ...
    @property
    def id(self) -> Sequence[str]: ...


def path_of(folder: Path, series: Series) -> Path:
    """`<folder>/<venue>/<symbol>/<timeframe or trades>.store`."""
    return folder / series.venue / series.symbol / f"{series.timeframe or 'trades'}{SUFFIX}"


def append(path: Path, series: Series, data: Columns | TradeLike) -> None:
    """Rows that follow those in the file, sealed as one segment. Raises StoreError; the file is then as it was."""
    with Writer(path, series) as writer:
        writer.add(data)


class Writer:
    """`with Writer(path, series) as writer: writer.add(...)` seals all that was added as one segment at its end.

    Memory stays flat: columns wait in temporary files beside the store. Nothing is written where the body raises.
    Candles must follow each other and the file's last, trades must not lie before it: StoreError. One writer at a
    time: a second one gets StoreError.
    """

    def __init__(self, path: Path, series: Series) -> None:
        self.path, self.series = path, series
        self.rows = 0
        self._layout = CANDLES if series.kind == "candles" else TRADES
        self._last: int | None = None
        self._first = 0
        self._counted = True
        self._text = 0

    def __enter__(self) -> Writer:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A file that is there is sealed: a first write happens beside, so that none is ever half there.
        self._part = None if self.path.exists() else self.path.with_name(self.path.name + ".part")
        self._file = os.open(self._part or self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StoreError(f"{self.path} is being written by another process: wait for it") from error
            self._before = None if self._part else self._standing()
            self._spools: list[IO[bytes]] = [
                tempfile.SpooledTemporaryFile(SPOOL, dir=str(self.path.parent))  # noqa: SIM115 - closed in __exit__
                for _ in self._layout
            ]
        except BaseException:
            os.close(self._file)
            raise
        if self._before is not None:
            self._last = self._before.footer.last
        return self

    def _standing(self) -> Segment:
        """The last segment. What is torn behind it is kept in a file of its own before it is cut off."""
        found, torn = segments_of(self.path, self._file)
        if torn:
            end = found[-1].end
            kept = self.path.with_name(f"{self.path.name}.torn-{end}")
            with kept.open("wb") as file:
                for at in range(end, end + torn, PAGE):
                    file.write(os.pread(self._file, min(PAGE, end + torn - at), at))
        if found[-1].footer.series != self.series:
            raise StoreError(f"{self.path} holds {found[-1].footer.series}, not {self.series}: write to another file")
        return found[-1]

    def add(self, data: Columns | TradeLike) -> None:
        ts = np.asarray(data.ts)
        if not len(ts):
            return
        self._follows(ts)
        columns = self._candle_bytes(data) if isinstance(data, Columns) else self._trade_bytes(data)
        for spool, (_, dtype), column in zip(self._spools, self._layout, columns, strict=True):
            spool.write(np.ascontiguousarray(column, dtype).data.cast("B"))
        self._first = int(ts[0]) if not self.rows else self._first
        self._last = int(ts[-1])
        self.rows += len(ts)

    def _follows(self, ts: Any) -> None:
        strictly = self.series.kind == "candles"
        steps = ts[1:] - ts[:-1]
        least = 1 if strictly else 0
        if len(steps) and int(steps.min()) < least:
            raise StoreError(f"{self.path}: the rows to be written are not in order of time")
        if self._last is not None and int(ts[0]) < self._last + least:
            raise StoreError(
                f"{self.path} reaches {self._last} µs already, and rows from {int(ts[0])} µs on cannot follow"
            )

    def _candle_bytes(self, data: Columns) -> list[Any]:
        count = data.count
        if count is None or (len(count) and int(count.min()) < 0):
            self._counted = False
        shown = np.full(len(data), -1, np.int64) if count is None else count
        return [data.ts, data.open, data.high, data.low, data.close, data.volume, shown]

    def _trade_bytes(self, data: TradeLike) -> list[Any]:
        ids = Ids.of(data.id)
        ends = ids.ends - ids.begin + self._text
        self._text = int(ends[-1])
        return [data.ts, data.price, data.qty, data.side, ends, ids.bytes()]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None and self.rows:
                self._seal()
        finally:
            for spool in self._spools:
                spool.close()
            if self._part is not None:
                self._part.unlink(missing_ok=True)
            os.close(self._file)

    def _seal(self) -> None:
        """The columns reach the disk before the seal does: a seal is proof of what stands before it."""
        begin = 0 if self._before is None else self._before.end
        with _restored(self._file, begin):
            sections, digest, end = self._written(begin)
            assert self._last is not None
            footer = Footer(
                self.series, self.rows, self._first, self._last, self._counted, begin, sections, digest,
                "" if self._before is None else self._before.seal,
            )  # fmt: skip
            body, trailer = trailer_of(footer)
            _write(self._file, body, end)
            os.fsync(self._file)
            _write(self._file, trailer, end + len(body))
            os.fsync(self._file)
        if self._part is not None:
            try:
                os.link(self._part, self.path)
            except FileExistsError as error:
                raise StoreError(f"{self.path} was written by another process meanwhile: try again") from error
            _sync_folder(self.path.parent)

    def _written(self, begin: int) -> tuple[tuple[Section, ...], str, int]:
        os.ftruncate(self._file, begin)
        hashed, sections, at = blake2b(digest_size=32), [], begin
        for spool, (name, dtype) in zip(self._spools, self._layout, strict=True):
            at = -(-at // ALIGN) * ALIGN
            spool.seek(0)
            crcs, size = [], 0
            while page := spool.read(PAGE):
                _write(self._file, page, at + size)
                hashed.update(page)
                crcs.append(zlib.crc32(page))
                size += len(page)
            sections.append(Section(name, dtype, at, size, tuple(crcs)))
            at += size
        return tuple(sections), hashed.hexdigest(), at


@contextmanager
def _restored(file: int, size: int) -> Iterator[None]:
    """A full disk leaves the file as it was."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.ftruncate(file, size)
        raise


def _write(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, at)
        view, at = view[done:], at + done


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
