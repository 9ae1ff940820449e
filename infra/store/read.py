"""Reading: the whole mapped, or pieces in flat memory; every page is checked before its rows are given out."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from events.block import ROWS_MAX, Columns, pack
from events.market import CandleBlock
from infra.store.layout import PAGE, Section, Segment, Series, StoreError, check, segments
from infra.store.trades import Ids, Trades, joined

CHUNK_ROWS = 65_536


def open_store(path: Path | str) -> Stored:
    """Raises StoreError, OSError."""
    where = Path(path)
    file = os.open(where, os.O_RDONLY)
    try:
        found, torn = segments(where, file)
    except BaseException:
        os.close(file)
        raise
    return Stored(where, file, found, torn)


class Stored:
    """One open file. `rows`, `first` and `last` ts in µs, `seal` (names all the content), `torn` bytes at its end."""

    def __init__(self, path: Path, file: int, found: tuple[Segment, ...], torn: int) -> None:
        self.path, self.torn = path, torn
        self._file, self._segments = file, found
        self.series: Series = found[-1].footer.series
        self.rows = sum(one.footer.rows for one in found)
        self.first, self.last = found[0].footer.first, found[-1].footer.last
        self.seal = found[-1].seal
        self._counted = all(one.footer.counted for one in found)

    def __enter__(self) -> Stored:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Arrays that were mapped stay valid."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def columns(self, *, check: bool = True) -> Columns:
        """All candles: read-only views of the mapped file where it is one segment, else one array a column.

        `check`: every page against its checksum, 2 to 3 GB a second. Raises StoreError.
        """
        self._of("candles")
        parts = [self._mapped(one, check) for one in self._segments]
        whole: dict[str, Any] = {name: _flat([one[name] for one in parts]) for name in parts[0]}
        return self._candles(whole)

    def trades(self, *, check: bool = True) -> Trades:
        """All trades, as `columns`."""
        self._of("trades")
        return joined([_trades(self._mapped(one, check)) for one in self._segments])

    def _of(self, kind: str) -> None:
        if self.series.kind != kind:
            raise StoreError(f"{self.path} holds {self.series.kind}, not {kind}")

    def _candles(self, columns: dict[str, Any]) -> Columns:
        count = columns.pop("count")
        return Columns(**columns, count=count if self._counted else None)

    def _mapped(self, segment: Segment, checked: bool) -> dict[str, Any]:
        view = mmap.mmap(self._file, segment.end, access=mmap.ACCESS_READ)
        found = {}
        for one in segment.footer.sections:
            found[one.name] = np.frombuffer(view, one.dtype, one.size // np.dtype(one.dtype).itemsize, one.at)
            if checked:
                data = memoryview(view)[one.at : one.at + one.size]
                for page in range(len(one.crcs)):
                    check(self.path, one, page, data[page * PAGE : (page + 1) * PAGE])
        return found

    def chunks(self, rows: int = CHUNK_ROWS, *, start: int | None = None, end: int | None = None) -> Iterator[Any]:
        """Columns or Trades of at most `rows` rows in order, start < ts <= end (µs), read into arrays of their own.

        No more than one chunk is in memory. Only pages that hold wanted rows are read. Raises StoreError.
        """
        for segment in self._segments:
            if (start is not None and segment.footer.last <= start) or (end is not None and segment.footer.first > end):
                continue
            first = 0 if start is None else self._place(segment, start)
            last = segment.footer.rows if end is None else self._place(segment, end)
            for at in range(first, last, rows):
                yield self._chunk(segment, at, min(at + rows, last))

    def _place(self, segment: Segment, ts: int) -> int:
        """How many rows lie at or before `ts`."""
        stamps = segment.footer.section("ts")
        low, high = 0, segment.footer.rows
        while low < high:
            middle = (low + high) // 2
            found = int.from_bytes(self._pread(8, stamps.at + 8 * middle), "little", signed=True)
            low, high = (middle + 1, high) if found <= ts else (low, middle)
        return low

    def _chunk(self, segment: Segment, first: int, last: int) -> Columns | Trades:
        footer = segment.footer
        if footer.series.kind == "candles":
            return self._candles({one.name: self._read(one, first, last) for one in footer.sections})
        found = {n: self._read(footer.section(n), first, last) for n in ("ts", "price", "qty", "side", "id_ends")}
        begin = int(self._read(footer.section("id_ends"), first - 1, first)[0]) if first else 0
        text = self._read(footer.section("id_text"), begin, int(found["id_ends"][-1]))
        ends = found.pop("id_ends")
        return Trades(**found, id=Ids(ends, text, begin))

    def _read(self, section: Section, first: int, last: int) -> Any:
        """Values first to last; whole pages are read, so that they can be checked."""
        width = np.dtype(section.dtype).itemsize
        begin, end = first * width, last * width
        low, high = begin // PAGE, -(-end // PAGE)
        data = np.empty(min(high * PAGE, section.size) - low * PAGE if end > begin else 0, np.uint8)
        self._fill(data, section.at + low * PAGE)
        view = data.data
        for page in range(low, high if end > begin else low):
            check(self.path, section, page, view[(page - low) * PAGE : (page - low + 1) * PAGE])
        return data[begin - low * PAGE : end - low * PAGE].view(section.dtype)

    def _fill(self, data: Any, at: int) -> None:
        view = data.data
        while view:
            done = os.preadv(self._file, [view], at)
            if not done:
                raise StoreError(f"{self.path} ends at byte {at:,}, before its seal says: it was cut; import it again")
            view, at = view[done:], at + done

    def _pread(self, size: int, at: int) -> bytes:
        data = np.empty(size, np.uint8)
        self._fill(data, at)
        return data.tobytes()

    def verify(self) -> None:
        """Every byte against the strong hash under the seal. Raises StoreError."""
        for segment in self._segments:
            hashed = blake2b(digest_size=32)
            for section in segment.footer.sections:
                for at in range(0, section.size, PAGE):
                    hashed.update(self._pread(min(PAGE, section.size - at), section.at + at))
            if hashed.hexdigest() != segment.footer.digest:
                raise StoreError(
                    f"{self.path}: bytes {segment.footer.begin:,} to {segment.end:,} are not what was sealed: "
                    "the file was changed or the disk is bad; import it again"
                )

    def blocks(self, *, start: int | None = None, end: int | None = None) -> Iterator[CandleBlock]:
        """The candles as facts for the bus, as `events.block.pack` makes them of each segment."""
        assert self.series.timeframe is not None
        for chunk in self.chunks(16 * ROWS_MAX, start=start, end=end):
            yield from pack(self.series.venue, self.series.symbol, self.series.timeframe, chunk)


def _flat(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _trades(columns: dict[str, Any]) -> Trades:
    ids = Ids(columns.pop("id_ends"), columns.pop("id_text"))
    return Trades(**columns, id=ids)
