"""The tables in memory: what the rows of batches amount to, without a database."""

from __future__ import annotations

from functools import partial
from struct import unpack, unpack_from
from typing import Any

from events.decision import Recorded
from projections.fold import fold
from projections.rows import Rows
from projections.state import restored, saved
from projections.tables import tables

Key = tuple[Any, ...]
EPOCH = 946_684_800_000_000  # PostgreSQL counts from 2000


READERS = {"text": bytes.decode, "float8": lambda data: unpack(">d", data)[0]}


def read_back(rows: bytes) -> list[Key]:
    """The candles in a piece of a binary COPY, times in µs since 1970."""
    made, place, types = [], 0, tables()["candles"].types
    while place < len(rows):
        assert rows[place : place + 2] == len(types).to_bytes(2, "big")
        place, row = place + 2, []
        for kind in types:
            (size,) = unpack_from(">i", rows, place)
            data = rows[place + 4 : place + 4 + size] if size >= 0 else None
            place += 4 + max(size, 0)
            value = (
                data if data is None else READERS.get(kind, partial(int.from_bytes, byteorder="big", signed=True))(data)
            )
            row.append(value + EPOCH if kind == "timestamptz" else value)
        made.append(tuple(row))
    return made


class Twin:
    """Takes batches as the database would; every batch begins from saved state, as after a restart."""

    def __init__(self) -> None:
        self.saved = b""
        self.tables: dict[str, dict[Key, tuple[Any, ...]]] = {name: {} for name in tables()}
        self.counts: dict[Key, int] = {}

    def take(self, entries: list[Recorded]) -> None:
        state = restored(self.saved)
        rows = fold(state, entries)
        self.saved = saved(state)
        for name, added in rows.logs.items():
            key = len(tables()[name].key)
            for row in added:
                assert len(row) == len(tables()[name].columns)
                assert row[:key] not in self.tables[name], "a log row twice"
                self.tables[name][row[:key]] = row
        for name, latest in rows.latest.items():
            self._put(name, latest)
        self._candles(rows)

    def _put(self, name: str, latest: dict[Any, Any]) -> None:
        table, kept = tables()[name], self.tables[name]
        for key, row in latest.items():
            if row is None:
                kept.pop(key, None)
                continue
            assert len(row) == len(table.columns)
            before = kept.get(key)
            if table.mode == "merge" and before is not None:
                row = tuple(old if new is None else new for old, new in zip(before, row, strict=True))
            kept[key] = row

    def _candles(self, rows: Rows) -> None:
        kept = self.tables["candles"]
        for key, series in rows.candles.series.items():
            fresh = [row for piece in (*series.blocks, *series.fresh.values()) for row in read_back(piece)]
            for row in fresh:
                assert row[:3] == key
                assert row[:4] not in kept, "a fresh row that was there"
                kept[row[:4]] = row
            assert len(fresh) == series.added
            for ts, piece in series.late.items():
                (row,) = read_back(piece)
                assert row[:4] == (*key, ts)
                kept[row[:4]] = row
