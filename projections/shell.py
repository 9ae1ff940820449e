"""The one module here that is not pure: it writes what the folds make of a tape to PostgreSQL, with psycopg."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from struct import error as StructError
from typing import Any, cast

import psycopg

from events.decision import Recorded
from events.tape import Tape

from . import csv
from .batches import BATCH, LINGER_S, closing, no_collection, weight_of
from .candles import HEADER, TRAILER
from .fold import PROJECTION, VERSION, fold, parked
from .outcome import Overtaken, ProjectionError, RebuildNeeded, RebuildReport, Swapped, another_tape
from .rows import Row, Rows
from .schemas import beside, schema_of
from .state import State, restored, saved
from .statements import CSV, LOAD, MOVE, copy_in, creation, delete, hashing, quoted, search_path, stages, swap, upsert
from .tables import Table, sql, tables

__all__ = [
    "Overtaken", "ProjectionError", "Projector", "RebuildNeeded", "RebuildReport", "project_to_end", "rebuild",
    "table_hashes",
]  # fmt: skip

log = logging.getLogger("tickertape.projections")

_SWAPS_MAX = 100  # catching up with a live projector takes a fraction of LINGER_S
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)
_REFUSED = (psycopg.DataError, ValueError, ArithmeticError, StructError)
_OPTIONS: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 10, "application_name": "tickertape projector"}

Connection = psycopg.AsyncConnection[Any]


class Projector:
    """Keeps the tables up with a tape. Any number of processes may read them; only one projector can write."""

    def __init__(self, dsn: str, tape: Tape, *, schema: str | None = None) -> None:
        self._dsn, self._tape, self._schema = dsn, tape, schema or schema_of(tape.name)
        self.at = 0
        """The last committed tape sequence."""

    async def run(self) -> None:
        """Follows the tape for ever, from the checkpoint. A database that is away is waited for.

        Raises RebuildNeeded, Overtaken, and whatever the tape raises.
        """
        failures = 0
        while True:
            try:
                async with _opened(self._dsn, self._schema, self._tape) as store:
                    self.at = store.seq
                    async with aclosing(_batches(self._tape.follow(after=store.seq))) as following:
                        async for batch in following:
                            await store.take(batch)
                            self.at, failures = store.seq, 0
            except Swapped:
                log.info("the tables were rebuilt; going on with the new ones")
            except _LOST as error:
                failures += 1
                log.warning("database: %s; trying again", str(error).strip() or type(error).__name__)
                await asyncio.sleep(min(5.0, 0.1 * 2**failures))


async def project_to_end(dsn: str, tape: Tape, *, schema: str | None = None, batch: int = BATCH) -> int:
    """Projects what the tape holds now and returns the sequence reached. Raises as `Projector.run`, and psycopg's."""
    async with _opened(dsn, schema or schema_of(tape.name), tape) as store:
        await store.catch_up(tape, batch)
        return store.seq


async def table_hashes(dsn: str, *, schema: str = "tickertape") -> dict[str, str]:
    """A hash of all rows and columns of each table, the same on every PostgreSQL."""
    async with await psycopg.AsyncConnection.connect(dsn, **_OPTIONS) as connection:
        await connection.execute(b"SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET bytea_output TO hex")
        return {name: str(await _one(connection, hashing(schema, tables()[name]))) for name in sorted(tables())}


async def rebuild(
    dsn: str, tape: Tape, progress: Callable[[int, int], None] | None = None, *, schema: str | None = None
) -> RebuildReport:
    """Projects the whole tape into new tables beside the old ones, which serve meanwhile, and swaps them in.

    A live projector may go on: its next commit finds other tables and goes on with those. `progress` gets (sequence
    reached, sequence of the end). Raises ProjectionError where another rebuild is at work.
    """
    began = time.perf_counter()
    generation = uuid.uuid4().hex
    schema = schema or schema_of(tape.name)
    new = beside(schema, generation)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **_OPTIONS) as connection:
        await _clear_the_way(connection, schema)
        await _make_schema(connection, new, tape.name, generation)
        store = Store(connection, new)
        await store.load()
        kept = await _swapped_in(store, schema, tape, lambda at, end: progress(at, end) if progress else None)
        await connection.execute("SELECT pg_advisory_unlock_all()")
        took = time.perf_counter() - began
        return RebuildReport(store.seq, store.entries, store.facts, store.parked, took, kept)


class Store:
    """One connection to the tables of one schema: rows and checkpoint, in one transaction."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self.connection, self.schema = connection, schema
        self.seq = self.entries = self.facts = self.parked = 0
        self.origin = self.generation = self.tape = ""
        self.state, self._saved = State(), b""
        self.reached: Callable[[int], None] = lambda at: None

    async def load(self) -> None:
        """Waits for a commit that may still be under way from a connection that was lost. Raises RebuildNeeded."""
        path = search_path(self.schema, await _extensions(self.connection))
        await self.connection.execute(f"SET {path}".encode())
        async with self.connection.transaction():
            row = await (await self.connection.execute(LOAD)).fetchone()
        if row is None:
            raise Swapped
        version, self.generation, self.tape, self.origin, self.seq, self._saved = row
        if version != VERSION:
            raise RebuildNeeded(f"the tables in {self.schema} are of version {version}, this program's of {VERSION}")
        self.state = restored(self._saved)
        await self.connection.execute(stages())

    async def catch_up(self, tape: Tape, batch: int = BATCH) -> None:
        """Projects what is on the tape now."""
        entries, weight = [], 0
        async with closing(tape.read(after=self.seq)) as stored:
            async for entry in stored:
                entries.append(entry)
                weight += weight_of(entry)
                if weight >= batch:
                    await self.take(entries)
                    entries, weight = [], 0
        if entries:
            await self.take(entries)

    async def take(self, entries: Sequence[Recorded]) -> None:
        """Projects a batch and commits it. An entry that the database refuses is parked, alone and loudly."""
        with no_collection():
            await self._take(entries)
        self.reached(self.seq)

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
            moved = await self.connection.execute(MOVE, (seq, state, origin, self.generation, self.seq))
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
            async with self.connection.cursor() as cursor:
                await cursor.executemany(delete(table), gone)
        rows = [row for row in latest.values() if row is not None]
        if rows:
            await self._copy(f"stage_{table.name}", table, rows)
            await self.connection.execute(upsert(table))

    async def _write_candles(self, rows: Rows) -> None:
        candles, made = rows.candles, tables()
        if fresh := candles.fresh():
            await self._copy_bytes("candles", made["candles"], fresh)
        await self._copy("stage_series", made["series"], rows.series())
        await self.connection.execute(sql("put_series").encode())
        if late := candles.late():
            await self._copy_bytes("stage_candles", made["candles"], late)
            await self.connection.execute(sql("late_candles").encode())
            await self.connection.execute(upsert(made["candles"]))

    async def _copy(self, target: str, table: Table, rows: Sequence[Row]) -> None:
        if data := csv.lines(table, rows):
            async with self.connection.cursor() as cursor, cursor.copy(copy_in(target, table, CSV)) as copy:
                await copy.write(data)
            return
        async with self.connection.cursor() as cursor, cursor.copy(copy_in(target, table)) as copy:
            copy.set_types(table.types)
            for row in rows:
                await copy.write_row(row)

    async def _copy_bytes(self, target: str, table: Table, pieces: list[bytes]) -> None:
        async with self.connection.cursor() as cursor, cursor.copy(copy_in(target, table)) as copy:
            await copy.write(b"".join((HEADER, *pieces, TRAILER)))


async def _batches(entries: AsyncIterator[Recorded]) -> AsyncGenerator[list[Recorded], None]:
    """What has come while the last batch was written: large when behind, small when live."""
    waiting: list[Recorded] = []
    some, room = asyncio.Event(), asyncio.Event()
    weight = 0

    async def fill() -> None:
        nonlocal weight
        async with closing(entries) as followed:
            async for entry in followed:
                waiting.append(entry)
                weight += weight_of(entry)
                some.set()
                if weight >= BATCH:
                    room.clear()
                    await room.wait()

    filling = asyncio.ensure_future(fill())
    filling.add_done_callback(lambda _: some.set())
    try:
        while not filling.done() or waiting:
            await some.wait()
            if weight < BATCH and not filling.done():
                await asyncio.sleep(LINGER_S)
            batch, waiting, weight = waiting, [], 0
            some.clear()
            room.set()
            if batch:
                yield batch
        await filling
    finally:
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


@asynccontextmanager
async def _opened(dsn: str, schema: str, tape: Tape) -> AsyncIterator[Store]:
    """The tables of a tape, made where there are none. Raises RebuildNeeded."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **_OPTIONS) as connection:
        await _make_schema(connection, schema, tape.name, uuid.uuid4().hex)
        store = Store(connection, schema)
        await store.load()
        await _check_history(store, tape)
        yield store


async def _check_history(store: Store, tape: Tape) -> None:
    if store.tape != tape.name:
        raise another_tape(store.schema, store.tape, tape.name)
    end = await tape.end()
    if end < store.seq:
        raise RebuildNeeded(f"the tables are at {store.seq}, but the tape {tape.name!r} ends at {end}")
    if store.seq:
        async with closing(tape.read()) as stored:
            first = await anext(aiter(stored))
        if first.decision.id != store.origin:
            raise RebuildNeeded(f"the tables hold another tape of the name {tape.name!r}")


async def _make_schema(connection: Connection, schema: str, tape: str, generation: str) -> None:
    """Makes schema, tables and views, all or nothing, where there are none."""
    features = await _features(connection)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"tickertape make {schema}",))
        if not await _exists(connection, schema):
            for statement in creation(schema, await _extensions(connection), features, tape, generation):
                await connection.execute(statement)


async def _features(connection: Connection) -> str:
    """Whether TimescaleDB is there, and under which licence; it is created where it is only installed."""
    created, loaded = await _row(connection, sql("timescale").encode())
    if not created and loaded:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            created = True
        except psycopg.Error as error:
            log.info("TimescaleDB is installed but cannot be created, so plain tables it is: %s", error)
    if not created:
        return "none"
    licence = await _one(connection, b"SELECT current_setting('timescaledb.license', true)")
    return "timescale" if licence == "timescale" else "apache"


async def _extensions(connection: Connection) -> str:
    """The schema of TimescaleDB's functions."""
    query = b"SELECT max(extnamespace::regnamespace::text) FROM pg_extension WHERE extname = 'timescaledb'"
    return str(await _one(connection, query) or "public")


async def _exists(connection: Connection, schema: str) -> bool:
    return bool(await _one(connection, b"SELECT to_regclass(%s) IS NOT NULL", quoted(schema, "checkpoints")))


async def _row(connection: Connection, query: bytes, *values: object) -> Row:
    found = await (await connection.execute(query, values or None)).fetchone()
    assert found is not None, query
    return cast("Row", found)


async def _one(connection: Connection, query: bytes, *values: object) -> Any:
    return (await _row(connection, query, *values))[0]


async def _clear_the_way(connection: Connection, schema: str) -> None:
    """Takes the lock of rebuilds, and removes what a rebuild that died has left."""
    if not await _one(connection, b"SELECT pg_try_advisory_lock(hashtext(%s))", f"tickertape rebuild {schema}"):
        raise ProjectionError("another rebuild is at work on these tables: wait for it to end")
    pattern = f"^{re.escape(schema)}~[0-9a-f]{{12}}(_old)?$"
    left = await connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ %s", (pattern,))
    for (name,) in await left.fetchall():
        await _dropped(connection, name)


async def _swapped_in(store: Store, schema: str, tape: Tape, progress: Callable[[int, int], None]) -> str:
    """Catches up until the new tables are no older than the old ones, and swaps them in one transaction.

    Returns the schema of the old tables where it has to stay.
    """
    connection = store.connection
    for _ in range(_SWAPS_MAX):
        end = await tape.end()
        store.reached = lambda at, end=end: progress(at, max(at, end))  # type: ignore[misc]
        await store.catch_up(tape)
        async with connection.transaction():
            at = await _locked(connection, schema)
            # Old tables that are ahead of the tape itself are of another history.
            if at is None or at <= store.seq or at > await tape.end():
                old = f"{store.schema}_old" if at is not None else ""
                await _rename(connection, schema, store.schema, old)
                break
    else:
        raise ProjectionError("the live projector stays ahead of the rebuild: try again when less happens")
    return old if old and not await _dropped(connection, old) else ""


async def _locked(connection: Connection, schema: str) -> int | None:
    """Shuts a live projector out, between two of its commits, and says how far it is; None where nothing is there."""
    if not await _exists(connection, schema):
        return None
    checkpoints = quoted(schema, "checkpoints")
    await connection.execute(f"LOCK TABLE {checkpoints} IN ACCESS EXCLUSIVE MODE".encode())
    return int(await _one(connection, f"SELECT coalesce(max(seq), 0) FROM {checkpoints}".encode()))


async def _rename(connection: Connection, schema: str, new: str, old: str) -> None:
    """Puts `new` in the place of `schema`, which becomes `old`. Grants follow, and views elsewhere that read it."""
    grants = await connection.execute(sql("grants").encode(), {"old": schema, "new": new})
    views = await connection.execute(sql("outside_views").encode(), {"schema": schema})
    for statement in [*(grant.encode() for (grant,) in await grants.fetchall()), *swap(schema, new, old)]:
        await connection.execute(statement)
    for (view,) in await views.fetchall():
        try:
            async with connection.transaction():
                await connection.execute(view.encode())
        except psycopg.Error as error:
            log.warning("a view of another schema still reads the old tables: %s (%s)", view.split(" AS ")[0], error)


async def _dropped(connection: Connection, old: str) -> bool:
    """Whether nothing outside reads the old tables any more, so that they could go."""
    found = await connection.execute(sql("outside_readers").encode(), {"schema": old})
    readers = [name for (name,) in await found.fetchall()]
    if readers:
        log.warning("the old tables stay in the schema %s, because %s reads them", old, ", ".join(readers))
        return False
    await connection.execute(f"DROP SCHEMA {quoted(old)} CASCADE".encode())
    return True
