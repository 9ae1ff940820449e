"""How the rows of a batch get into the tables, over a connection that the shell has opened; each call a part of its
transaction. `Writer` keeps whole tables up to date. `Heap` fills new ones that nobody reads yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from . import csv
from .candles import HEADER, TRAILER
from .rows import Row, Rows
from .state import SeriesKey
from .statements import CSV, complete, copy_in, delete, upsert, values
from .tables import Table, sql, tables

_LATE_MAX = 200_000  # rows of some 150 bytes that are kept back
_REVISITED = timedelta(hours=1)  # a minute of an account's equity this far behind its newest one changes no more

_FEW = 32  # rows that are inserted without a stage

Latest = dict[Row, Row | None]


class Writer:
    """`connection`: psycopg's, with the tables in its search path and `statements.stages` executed."""

    full = False
    """Whether it has to be completed before more is written."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def write(self, rows: Rows) -> None:
        for name, added in rows.logs.items():
            if added:
                await self._copy(name, tables()[name], added)
        for name, latest in rows.latest.items():
            if latest:
                await self._put(tables()[name], latest)
        if rows.candles.series:
            await self._write_candles(rows)

    def committed(self) -> None:
        """What was written last is there to stay."""

    async def _put(self, table: Table, latest: Latest) -> None:
        gone = [key for key, row in latest.items() if row is None]
        if gone:
            async with self._connection.cursor() as cursor:
                await cursor.executemany(delete(table), gone)
        rows = [row for row in latest.values() if row is not None]
        if 0 < len(rows) <= _FEW and "jsonb" not in table.types:
            await self._insert(upsert(table, values(table)), rows)
        elif rows:
            await self._copy(f"stage_{table.name}", table, rows)
            await self._connection.execute(upsert(table))

    async def _insert(self, statement: bytes, rows: Sequence[Row]) -> None:
        """Row by row, in one go: of a stage, all are emptied at the commit, which takes longer than a few rows."""
        async with self._connection.cursor() as cursor:
            await cursor.executemany(statement, rows)

    async def _write_candles(self, rows: Rows) -> None:
        if fresh := rows.candles.fresh():
            await self._copy_bytes("candles", fresh)
        await self._put_series(rows.series())
        await self._put_late({key: series.late for key, series in rows.candles.series.items() if series.late})

    async def _put_series(self, rows: Sequence[Row]) -> None:
        table, statement = tables()["series"], sql("put_series")
        if len(rows) <= _FEW:
            await self._insert(statement.format(values(table)).encode(), rows)
            return
        await self._copy("stage_series", table, rows)
        await self._connection.execute(statement.format("SELECT * FROM stage_series").encode())

    async def _put_late(self, late: Mapping[SeriesKey, Mapping[int, bytes]]) -> None:
        if late:
            await self._copy_bytes("stage_candles", [row for rows in late.values() for row in rows.values()])
            await self._connection.execute(sql("late_candles").encode())
            await self._connection.execute(upsert(tables()["candles"]))

    async def _copy(self, target: str, table: Table, rows: Sequence[Row]) -> None:
        if data := csv.lines(table, rows):
            async with self._connection.cursor() as cursor, cursor.copy(copy_in(target, table, CSV)) as copy:
                await copy.write(data)
            return
        async with self._connection.cursor() as cursor, cursor.copy(copy_in(target, table)) as copy:
            copy.set_types(table.types)
            for row in rows:
                await copy.write_row(row)

    async def _copy_bytes(self, target: str, pieces: list[bytes]) -> None:
        async with self._connection.cursor() as cursor, cursor.copy(copy_in(target, tables()["candles"])) as copy:
            await copy.write(b"".join((HEADER, *pieces, TRAILER)))


class Heap(Writer):
    """Writes into tables without keys (`statements.HEAPS`), where nothing can be looked up.

    What may change is kept back: orders while they are open, the last hour of each account's equity, late candles. Of a
    row that was written twice all the same, `complete` keeps the newer. Nothing of it outlives the connection: a
    rebuild that dies begins anew.
    """

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._kept: dict[str, dict[Row, Row]] = {"orders": {}, "equity": {}}
        self._late: dict[SeriesKey, dict[int, bytes]] = {}
        self._next_kept: dict[str, dict[Row, Row]] = {}
        self._next_late: Mapping[SeriesKey, Mapping[int, bytes]] = {}

    async def write(self, rows: Rows) -> None:
        self._next_kept, self._next_late = {}, {}
        await super().write(rows)

    def committed(self) -> None:
        self._kept.update(self._next_kept)
        for key, rows in self._next_late.items():
            self._late.setdefault(key, {}).update(rows)
        self._next_kept, self._next_late = {}, {}
        self.full = sum(map(len, self._late.values())) > _LATE_MAX

    async def complete(self) -> None:
        """Writes what was kept back and makes keys, indexes and views: a `Writer` can go on."""
        for name, kept in self._kept.items():
            if kept:
                await self._copy(name, tables()[name], list(kept.values()))
        for statement in complete():
            await self._connection.execute(statement)
        await super()._put_late(self._late)

    async def _put(self, table: Table, latest: Latest) -> None:
        if table.name not in self._kept:
            await super()._put(table, latest)
            return
        now = {**self._kept[table.name], **{key: row for key, row in latest.items() if row is not None}}
        keep = _open(table, now) if table.name == "orders" else _newest(now)
        self._next_kept[table.name] = keep
        if done := [row for key, row in now.items() if key not in keep]:
            await self._copy(table.name, table, done)

    async def _put_late(self, late: Mapping[SeriesKey, Mapping[int, bytes]]) -> None:
        self._next_late = late


def _open(table: Table, rows: Mapping[Row, Row]) -> dict[Row, Row]:
    status = table.columns.index("status")
    return {key: row for key, row in rows.items() if row[status] not in ("filled", "cancelled", "rejected")}


def _newest(rows: Mapping[Row, Row]) -> dict[Row, Row]:
    newest: dict[str, Any] = {}
    for account, minute in rows:
        if account not in newest or minute > newest[account]:
            newest[account] = minute
    return {key: row for key, row in rows.items() if newest[key[0]] - key[1] < _REVISITED}
