"""One connection to the tables: rows and checkpoint, in one transaction."""

from __future__ import annotations

import gc
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from struct import error as StructError
from typing import cast

import psycopg
from psycopg.sql import SQL, Identifier

from events.decision import Recorded
from events.market import CandleBlock
from events.tape import Tape

from ..candles import HEADER, TRAILER
from ..fold import PROJECTION, VERSION, fold, parked
from ..rows import Row, Rows, moment
from ..state import State, restored, saved
from ..tables import Table, sql, tables
from .errors import Overtaken, RebuildNeeded, Swapped
from .schema import OPTIONS, Connection, extension_schema, make_schema

log = logging.getLogger("tickertape.projections")

BATCH = 50_000  # facts, or rows of candle blocks, a transaction: when behind, its fixed costs vanish
_REFUSED = (psycopg.DataError, ValueError, ArithmeticError, StructError)


class Store:
    """One connection to the tables of one schema: rows and checkpoint, in one transaction."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self.connection, self.schema = connection, schema
        self.seq = self.entries = self.facts = self.parked = 0
        self.origin = self.generation = self.tape = ""
        self.state, self._saved = State(), b""

    async def load(self) -> None:
        """Waits for a commit that may still be under way from a connection that was lost. Raises RebuildNeeded."""
        await self.connection.execute(SQL("SET search_path TO {}, {}, public").format(
            Identifier(self.schema), Identifier(await extension_schema(self.connection))))  # fmt: skip
        async with self.connection.transaction():
            found = await self.connection.execute(
                "SELECT version, generation, tape, origin, seq, state FROM checkpoints"
                " WHERE projection = %s FOR UPDATE",
                (PROJECTION,),
            )
            row = await found.fetchone()
        if row is None:
            raise Swapped
        version, self.generation, self.tape, self.origin, self.seq, self._saved = row
        if version != VERSION:
            raise RebuildNeeded(
                f"the tables in {self.schema} are of version {version}, this program's of {VERSION}: `tape rebuild` "
                "makes them anew from the tape"
            )
        self.state = restored(self._saved)
        for table in tables().values():
            if table.mode in ("put", "merge") or table.name in ("candles", "series"):
                stage = f"CREATE TEMP TABLE IF NOT EXISTS stage_{table.name} (LIKE {table.name}) ON COMMIT DELETE ROWS"
                await self.connection.execute(stage.encode())

    async def catch_up(self, tape: Tape, batch: int = BATCH, after: Callable[[int], None] | None = None) -> None:
        """Projects what is on the tape now."""
        entries, weight = [], 0
        async with closing(tape.read(after=self.seq)) as stored:
            async for entry in stored:
                entries.append(entry)
                weight += weight_of(entry)
                if weight >= batch:
                    await self.take(entries)
                    entries, weight = [], 0
                    if after:
                        after(self.seq)
        if entries:
            await self.take(entries)
            if after:
                after(self.seq)

    async def take(self, entries: Sequence[Recorded]) -> None:
        """Projects a batch and commits it. An entry that the database refuses is parked, alone and loudly."""
        with _no_collection():
            await self._take(entries)

    async def _take(self, entries: Sequence[Recorded]) -> None:
        try:
            await self._commit(fold(self.state, entries), entries)
        except _REFUSED as error:
            self.state = restored(self._saved)
            if len(entries) == 1:
                await self._commit(parked(entries[0], f"{type(error).__name__}: {error}"), entries)
                return
            half = len(entries) // 2
            await self._take(entries[:half])
            await self._take(entries[half:])

    async def _commit(self, rows: Rows, entries: Sequence[Recorded]) -> None:
        seq, state = entries[-1].seq, saved(self.state)
        origin = self.origin or entries[0].decision.id
        async with self.connection.transaction():
            # First, because it locks: no rebuild can swap the tables between here and the commit.
            moved = await self.connection.execute(
                "UPDATE checkpoints SET seq = %s, state = %s, origin = %s"
                " WHERE projection = %s AND generation = %s AND seq = %s",
                (seq, state, origin, PROJECTION, self.generation, self.seq),
            )
            if moved.rowcount == 1:
                await self._write(rows)
        if moved.rowcount != 1:
            await self._moved()
        self.seq, self.origin, self._saved = seq, origin, state
        self.entries += len(entries)
        self.facts += sum(len(entry.decision.facts) for entry in entries)
        self.parked += len(rows.parked)
        for at, view, reason in rows.parked:
            log.error("the view %s cannot project the fact at %d, which is parked: %s", view, at, reason)

    async def _moved(self) -> None:
        query = "SELECT generation, seq FROM checkpoints WHERE projection = %s"
        found = await (await self.connection.execute(query, (PROJECTION,))).fetchone()
        if found is None or found[0] != self.generation:
            raise Swapped
        raise Overtaken(f"the projector of {self.schema}", self.seq, found[1])

    async def _write(self, rows: Rows) -> None:
        for name, added in rows.logs.items():
            if added:
                await self._copy(name, tables()[name], added)
        for name, latest in rows.latest.items():
            if latest:
                await self._upsert(tables()[name], latest)
        if rows.candles.series:
            await self._write_candles(rows)

    async def _upsert(self, table: Table, latest: dict[Row, Row | None]) -> None:
        gone = [key for key, row in latest.items() if row is None]
        if gone:
            where = " AND ".join(f"{column} = %s" for column in table.key)
            async with self.connection.cursor() as cursor:
                await cursor.executemany(f"DELETE FROM {table.name} WHERE {where}".encode(), gone)
        rows = [row for row in latest.values() if row is not None]
        if rows:
            await self._copy(f"stage_{table.name}", table, rows)
            await self.connection.execute(_upsert(table))

    async def _write_candles(self, rows: Rows) -> None:
        candles, made = rows.candles, tables()
        if fresh := candles.fresh():
            await self._copy_bytes("candles", made["candles"], fresh)
        series = [
            (*key, moment(one.first), moment(one.last), one.added, one.seq, moment(one.known_at))
            for key, one in candles.series.items()
        ]
        await self._copy("stage_series", made["series"], series)
        await self.connection.execute(sql("put_series").encode())
        if late := candles.late():
            await self._copy_bytes("stage_candles", made["candles"], late)
            await self.connection.execute(sql("late_candles").encode())
            await self.connection.execute(_upsert(made["candles"]))

    async def _copy(self, target: str, table: Table, rows: Iterable[Row]) -> None:
        async with self.connection.cursor() as cursor, cursor.copy(_copy_in(target, table)) as copy:
            copy.set_types(table.types)
            for row in rows:
                await copy.write_row(row)

    async def _copy_bytes(self, target: str, table: Table, pieces: list[bytes]) -> None:
        async with self.connection.cursor() as cursor, cursor.copy(_copy_in(target, table)) as copy:
            await copy.write(b"".join((HEADER, *pieces, TRAILER)))


@contextmanager
def _no_collection() -> Iterator[None]:
    """A batch makes many rows and no cycles: looking for them would take a third of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def _copy_in(target: str, table: Table) -> bytes:
    return f"COPY {target} ({', '.join(table.columns)}) FROM STDIN (FORMAT BINARY)".encode()


def _upsert(table: Table) -> bytes:
    names = ", ".join(table.columns)
    new = "coalesce(excluded.{0}, {1}.{0})" if table.mode == "merge" else "excluded.{0}"
    changes = ", ".join(f"{c} = {new.format(c, table.name)}" for c in table.columns if c not in table.key)
    return (
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM stage_{table.name}"
        f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {changes}"
    ).encode()


def weight_of(entry: Recorded) -> int:
    return sum(fact.rows if type(fact) is CandleBlock else 1 for fact in entry.decision.facts)


def closing(entries: AsyncIterator[Recorded]) -> aclosing[AsyncGenerator[Recorded, None]]:
    """Ends a reader when its block ends: the port promises iterators, and every tape gives generators."""
    return aclosing(cast("AsyncGenerator[Recorded, None]", entries))


@asynccontextmanager
async def opened(dsn: str, schema: str, tape: Tape) -> AsyncIterator[Store]:
    """The tables of a tape, made where there are none. Raises RebuildNeeded."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **OPTIONS) as connection:
        await make_schema(connection, schema, tape.name, uuid.uuid4().hex)
        store = Store(connection, schema)
        await store.load()
        await _check_history(store, tape)
        yield store


async def _check_history(store: Store, tape: Tape) -> None:
    again = "`tape rebuild` makes the tables anew from the tape"
    if store.tape != tape.name:
        raise RebuildNeeded(
            f"the tables in {store.schema} hold the tape {store.tape!r}, not {tape.name!r}: give this tape a database "
            f"of its own, or replace them: {again}"
        )
    end = await tape.end()
    if end < store.seq:
        raise RebuildNeeded(f"the tables are at {store.seq}, but the tape {tape.name!r} ends at {end}: {again}")
    if store.seq:
        async with closing(tape.read()) as stored:
            first = await anext(aiter(stored))
        if first.decision.id != store.origin:
            raise RebuildNeeded(f"the tables hold another tape of the name {tape.name!r}: {again}")
