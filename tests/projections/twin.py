"""The tables in memory: what the rows of batches amount to, without a database."""

from __future__ import annotations

from typing import Any

from events.decision import Recorded
from projections.candles import Bar, _bars
from projections.fold import fold
from projections.rows import Rows
from projections.state import restored, saved
from projections.tables import tables

Key = tuple[Any, ...]


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
            fresh = [bar for block in series.blocks for bar in _bars(block)] + list(series.fresh.values())
            for bar in fresh:
                assert (*key, bar.ts) not in kept, "a fresh row that was there"
                kept[*key, bar.ts] = Bar._make(bar)
            assert len(fresh) == series.added
            kept.update({(*key, ts): bar for ts, bar in series.late.items()})
