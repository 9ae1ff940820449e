"""The one module here that is not pure: it writes what the folds make of a tape to PostgreSQL, with psycopg."""

from __future__ import annotations

import asyncio
import gc
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from struct import error as StructError
from typing import Any

import psycopg

from events.decision import Recorded
from events.tape import HistoryLost, Tape

from . import outcome
from .asking import exists, extensions, locked, one, row
from .batches import BATCH, Batch, batched, following, no_collection
from .fold import PROJECTION, VERSION, fold, parked, settle
from .history import check, recognise
from .outcome import Overtaken, ProjectionError, RebuildNeeded, RebuildReport, Swapped
from .rows import Rows
from .schemas import beside, clear_the_way, dropped, schema_of
from .state import State, mark, restored, saved
from .statements import LOAD, MOVE, creation, hashing, search_path, stages, swap
from .sweep import folding
from .tables import sql, tables
from .writing import Heap, Writer

__all__ = [
    "Overtaken", "ProjectionError", "Projector", "RebuildNeeded", "RebuildReport", "history_lost", "project_to_end",
    "rebuild", "table_hashes",
]  # fmt: skip

log = logging.getLogger("tickertape.projections")

_SWAPS_MAX = 100  # catching up with a live projector takes a fraction of LINGER_S
_WAIT_S = 1.0  # between two looks whether another process has made the tables anew
_SAID_MAX = 10  # parked facts of a batch that are named in the log: a stranger must not fill the disk with lines
_COLLECT = 16  # batches after which cycles are looked for: connection and tasks leave few
_LOST = (psycopg.OperationalError, psycopg.InterfaceError)
# Of limits, a key too long for an index is one; psycopg counts it among operational errors, but it stays.
_LIMITS = psycopg.errors.ProgramLimitExceeded
_REFUSED = (psycopg.DataError, _LIMITS, ValueError, ArithmeticError, StructError)
_OPTIONS: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 10, "application_name": "tickertape projector"}
Connection = psycopg.AsyncConnection[Any]


class Projector:
    """Keeps the tables up with a tape. Any number of processes may read them; only one projector can write."""

    def __init__(self, dsn: str, tape: Tape, *, schema: str | None = None) -> None:
        self._dsn, self._tape, self._schema = dsn, tape, schema or schema_of(tape.name)
        self.at = 0  # the last committed tape sequence
        self.failures = 0  # attempts to reach the database since the last commit
        self.rebuilding = False

    async def run(self) -> None:
        """Follows the tape for ever, from the checkpoint. A database that is away is waited for.

        Tables of an earlier version, or of what is no longer history, are made anew beside the old ones, which serve
        until then. Raises AnotherTape, NewerTables, Overtaken, and whatever the tape raises.
        """
        while True:
            try:
                await self._follow()
            except Swapped:
                log.info("the tables were rebuilt; going on with the new ones")
            except outcome.AnotherTape:
                raise
            except RebuildNeeded as need:
                await self._make_anew(need)
            except _LOST as error:
                self.failures += 1
                log.warning("database: %s; trying again", str(error).strip() or type(error).__name__)
                await asyncio.sleep(min(5.0, 0.1 * 2**self.failures))

    async def _follow(self) -> None:
        async with _opened(self._dsn, self._schema, self._tape) as store:
            self.at = store.seq
            store.reached = self._reached
            await store.catch_up(self._tape)
            # From the last message on that is in the tables: it tells whether what follows belongs to them.
            async with aclosing(following(self._tape.follow(after=max(0, store.seq - 1)))) as batches:
                async for batch in batches:
                    if batch[0].seq <= store.seq:
                        recognise(self._tape.name, batch.pop(0), store.seq, store.state.head, await self._tape.end())
                    if batch:
                        await store.take(batch)

    async def _make_anew(self, need: RebuildNeeded) -> None:
        log.error("%s; they are made anew now, and the old ones serve until then", need.why)
        self.rebuilding = True
        try:
            report = await rebuild(self._dsn, self._tape, lambda at, end: self._reached(at), schema=self._schema)
        except outcome.RebuildAtWork:
            log.info("another process makes these tables anew: waiting for it")
            await asyncio.sleep(_WAIT_S)
            return
        finally:
            self.rebuilding = False
        log.warning("the tables were made anew from the tape up to %d in %.1f s", report.at, report.seconds)

    def _reached(self, at: int) -> None:
        self.at, self.failures = at, 0


async def project_to_end(dsn: str, tape: Tape, *, schema: str | None = None, batch: int = BATCH) -> int:
    """Projects what the tape holds now and returns the sequence reached. Raises as `Projector.run`, and psycopg's."""
    async with _opened(dsn, schema or schema_of(tape.name), tape) as store:
        await store.catch_up(tape, batch)
        return store.seq


async def history_lost(dsn: str, tape: Tape, *, schema: str | None = None) -> HistoryLost | None:
    """What the tables know of the tape that is no longer on it, if there is anything. Raises psycopg's errors."""
    schema = schema or schema_of(tape.name)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **_OPTIONS) as connection:
        if not await exists(connection, schema):
            return None
        store = Store(connection, schema)
        try:
            await store.load()
            await store.check(tape)
        except outcome.HistoryGone as gone:
            return gone.lost
        except (ProjectionError, Swapped):  # for the projector to deal with
            return None
    return None


async def table_hashes(dsn: str, *, schema: str = "tickertape") -> dict[str, str]:
    """A hash of all rows and columns of each table, the same on every PostgreSQL."""
    async with await psycopg.AsyncConnection.connect(dsn, **_OPTIONS) as connection:
        await connection.execute(b"SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET bytea_output TO hex")
        return {name: str(await one(connection, hashing(schema, tables()[name]))) for name in sorted(tables())}


async def rebuild(
    dsn: str,
    tape: Tape,
    progress: Callable[[int, int], None] | None = None,
    *,
    schema: str | None = None,
    batch: int = BATCH,
) -> RebuildReport:
    """Projects the whole tape into new tables beside the old ones, which serve meanwhile, and swaps them in.

    A live projector may go on: its next commit finds other tables and goes on with those. `progress` gets (sequence
    reached, sequence of the end). Raises ProjectionError where another rebuild is at work.
    """
    began = time.perf_counter()
    schema = schema or schema_of(tape.name)
    told = progress or (lambda at, end: None)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **_OPTIONS) as connection:
        store = await _beside(connection, schema, tape, heaps=True)
        try:
            kept = await _swapped_in(store, schema, tape, told, batch)
        except _REFUSED as error:  # of what was kept back to the end, when it is too late to say of which entry it is
            log.warning("the database refuses a row (%s): once more, with keys from the beginning", error)
            store = await _beside(connection, schema, tape, heaps=False)
            kept = await _swapped_in(store, schema, tape, told, batch)
        await connection.execute("SELECT pg_advisory_unlock_all()")
        took = time.perf_counter() - began
        return RebuildReport(store.seq, store.entries, store.facts, store.parked, took, kept)


async def _beside(connection: Connection, schema: str, tape: Tape, *, heaps: bool) -> Store:
    """New, empty tables."""
    await clear_the_way(connection, schema)
    generation = uuid.uuid4().hex
    new = beside(schema, generation)
    heaps = await _make_schema(connection, new, tape.name, generation, heaps=heaps)
    # Nothing of this is seen before the swap, whose commit makes all that was written before it durable too.
    await connection.execute("SET synchronous_commit = off")
    store = Store(connection, new, Heap(connection) if heaps else None)
    await store.load()
    return store


class Store:
    """One connection to the tables of one schema: rows and checkpoint, in one transaction."""

    def __init__(self, connection: Connection, schema: str, writer: Writer | None = None) -> None:
        self.connection, self.schema = connection, schema
        self.writer = writer or Writer(connection)
        self.seq = self.entries = self.facts = self.parked = 0
        self.origin = self.generation = self.tape = ""
        self.state, self._saved = State(), b""
        self.reached: Callable[[int], None] = lambda at: None

    async def load(self) -> None:
        """Waits for a commit that may still be under way from a connection that was lost. Raises RebuildNeeded."""
        path = search_path(self.schema, await extensions(self.connection))
        await self.connection.execute(f"SET {path}".encode())
        async with self.connection.transaction():
            row = await (await self.connection.execute(LOAD)).fetchone()
        if row is None:
            raise Swapped
        version, self.generation, self.tape, self.origin, self.seq, self._saved = row
        if version > VERSION:
            raise outcome.NewerTables(
                f"the tables in {self.schema} are of version {version}, this program's of {VERSION}: use the newer "
                "program, or put back the older tables with `tape rebuild`"
            )
        if version != VERSION:
            raise RebuildNeeded(f"the tables in {self.schema} are of version {version}, this program's of {VERSION}")
        self.state = restored(self._saved)
        await self.connection.execute(stages())

    async def catch_up(self, tape: Tape, weight: int = BATCH) -> None:
        """Projects what is on the tape now. While a batch is written, the next one is read and folded."""
        writing, before, count = None, Batch(), 0
        try:
            with no_collection():
                async with aclosing(batched(tape, self.seq, weight)) as stored:
                    async for batch in stored:
                        count += 1
                        if count % _COLLECT == 0:
                            gc.collect(1)
                        ahead = await self._folded(batch, self.state)
                        if writing is not None and not await self._wrote(writing, before):
                            ahead = await self._folded(batch, self.state)
                        writing, before = asyncio.create_task(self._commit(*ahead, batch)), batch
                if writing is not None:
                    await self._wrote(writing, before)
        finally:
            if writing is not None:
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _folded(self, batch: Batch, state: State) -> tuple[Rows, bytes]:
        """Whoever writes meanwhile has its turn all the time."""
        rows = Rows()
        for page in batch.pages:
            for _ in folding(state, rows, page):
                await asyncio.sleep(0)
        settle(state, rows)
        return rows, _saved(state, batch)

    async def _wrote(self, writing: asyncio.Task[None], batch: Batch) -> bool:
        """False where the batch was refused and went in by parts: what was folded upon it is to be folded anew."""
        try:
            await writing
        except _REFUSED:
            self.state = restored(self._saved)
            await self._take(batch.entries())
            return False
        return True

    async def take(self, entries: list[Recorded]) -> None:
        """Projects a batch and commits it. An entry that the database refuses is parked, alone and loudly."""
        with no_collection():
            await self._take(entries)

    async def _take(self, entries: list[Recorded]) -> None:
        batch = Batch(entries)
        try:
            rows = fold(self.state, entries)
            await self._commit(rows, _saved(self.state, batch), batch)
        except _REFUSED as error:
            self.state = restored(self._saved)
            if len(entries) == 1:
                refused = parked(entries[0], f"{type(error).__name__}: {error}")
                await self._commit(refused, _saved(self.state, batch), batch)
                return
            half = len(entries) // 2
            await self._take(entries[:half])
            await self._take(entries[half:])

    async def _commit(self, rows: Rows, state: bytes, batch: Batch) -> None:
        seq, origin = batch.last.seq, self.origin or batch.first.decision.id
        async with self.connection.transaction():
            # First, because it locks: no rebuild can swap the tables between here and the commit.
            moved = await self.connection.execute(MOVE, (seq, state, origin, self.generation, self.seq))
            if moved.rowcount == 1:
                await self.writer.write(rows)
        if moved.rowcount != 1:
            await self._moved()
        self.writer.committed()
        self.seq, self.origin, self._saved = seq, origin, state
        self.entries += batch.messages
        self.facts += batch.facts
        self.parked += len(rows.parked)
        for at, view, reason in rows.parked[:_SAID_MAX]:
            log.error("the view %s cannot project the fact at %d, which is parked: %s", view, at, reason)
        if (more := len(rows.parked) - _SAID_MAX) > 0:
            log.error("%d more facts were parked; the table `parked` names them", more)
        if self.writer.full:
            await self.complete()
        self.reached(self.seq)

    async def check(self, tape: Tape) -> None:
        await check(tape, self.schema, self.tape, self.seq, self.origin, self.state.head)

    async def complete(self) -> None:
        """Ends the filling of new tables: from here on they are as any others."""
        if isinstance(self.writer, Heap):
            async with self.connection.transaction():
                await self.writer.complete()
            self.writer = Writer(self.connection)

    async def _moved(self) -> None:
        query = "SELECT generation, seq FROM checkpoints WHERE projection = %s"
        found = await (await self.connection.execute(query, (PROJECTION,))).fetchone()
        if found is None or found[0] != self.generation:
            raise Swapped
        raise Overtaken(f"the projector of {self.schema}", self.seq, found[1])


def _saved(state: State, batch: Batch) -> bytes:
    state.head = mark(batch.last)
    return saved(state)


@asynccontextmanager
async def _opened(dsn: str, schema: str, tape: Tape) -> AsyncIterator[Store]:
    """The tables of a tape, made where there are none. Raises RebuildNeeded."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **_OPTIONS) as connection:
        await _make_schema(connection, schema, tape.name, uuid.uuid4().hex)
        store = Store(connection, schema)
        await store.load()
        await store.check(tape)
        yield store


async def _make_schema(connection: Connection, schema: str, tape: str, generation: str, *, heaps: bool = False) -> bool:
    """Makes schema, tables and views, all or nothing, where there are none. Returns whether they are heaps.

    With TimescaleDB they are not: a hypertable needs its key before it is told to compress.
    """
    features = await _features(connection)
    heaps = heaps and features == "none"
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"tickertape make {schema}",))
        if not await exists(connection, schema):
            for statement in creation(schema, await extensions(connection), features, tape, generation, heaps):
                await connection.execute(statement)
    return heaps


async def _features(connection: Connection) -> str:
    """Whether TimescaleDB is there, and under which licence; it is created where it is only installed."""
    created, loaded = await row(connection, sql("timescale").encode())
    if not created and loaded:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            created = True
        except psycopg.Error as error:
            log.info("TimescaleDB is installed but cannot be created, so plain tables it is: %s", error)
    if not created:
        return "none"
    licence = await one(connection, b"SELECT current_setting('timescaledb.license', true)")
    return "timescale" if licence == "timescale" else "apache"


async def _swapped_in(store: Store, schema: str, tape: Tape, progress: Callable[[int, int], None], batch: int) -> str:
    """Catches up until the new tables are no older than the old ones, and swaps them in one transaction.

    Returns the schema of the old tables where it has to stay.
    """
    connection = store.connection
    for _ in range(_SWAPS_MAX):
        end = await tape.end()
        store.reached = lambda at, end=end: progress(at, max(at, end))  # type: ignore[misc]
        await store.catch_up(tape, batch)
        if isinstance(store.writer, Heap):
            await store.complete()
            await store.catch_up(tape, batch)
        await connection.execute("RESET synchronous_commit")
        async with connection.transaction():
            # Readers wait for this lock; a process that is stopped while it holds it must not hold them for long.
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10s'")
            at = await locked(connection, schema)
            # Old tables that are ahead of the tape itself are of another history.
            if at is None or at <= store.seq or at > await tape.end():
                old = f"{store.schema}_old" if at is not None else ""
                await _rename(connection, schema, store.schema, old)
                break
    else:
        raise ProjectionError("the live projector stays ahead of the rebuild: try again when less happens")
    return old if old and not await dropped(connection, old) else ""


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
