"""Rebuilding all tables from the tape, beside the old ones."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable

import msgspec
import psycopg
from psycopg.sql import SQL, Identifier

from events.tape import Tape

from ..tables import sql
from .errors import ProjectionError
from .schema import OPTIONS, SCHEMA, Connection, make_schema
from .store import Store

log = logging.getLogger("tickertape.projections")

_SWAPS_MAX = 100  # a live projector commits at most some 50 times a second; catching up takes a fraction of that


class RebuildReport(msgspec.Struct, frozen=True):
    """`at`: the last sequence in the new tables. `kept`: the schema of the old ones, where something still reads it."""

    at: int
    entries: int
    facts: int
    parked: int
    seconds: float
    kept: str = ""


async def rebuild(
    dsn: str, tape: Tape, progress: Callable[[int, int], None] | None = None, *, schema: str = SCHEMA
) -> RebuildReport:
    """Projects the whole tape into new tables beside the old ones, which serve meanwhile, and swaps them in.

    A live projector may go on: its next commit finds other tables and goes on with those. `progress` gets (sequence
    reached, sequence of the end). Raises ProjectionError where another rebuild is at work.
    """
    began = time.perf_counter()
    generation = uuid.uuid4().hex
    new = f"{schema}_{generation[:12]}"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True, **OPTIONS) as connection:
        await _clear_the_way(connection, schema)
        await make_schema(connection, new, tape.name, generation)
        store = Store(connection, new)
        await store.load()
        kept = await _swapped_in(store, schema, tape, lambda at, end: progress(at, end) if progress else None)
        await connection.execute("SELECT pg_advisory_unlock_all()")
        took = time.perf_counter() - began
        return RebuildReport(store.seq, store.entries, store.facts, store.parked, took, kept)


async def _clear_the_way(connection: Connection, schema: str) -> None:
    """Takes the lock of rebuilds, and removes what a rebuild that died has left."""
    found = await connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (f"tickertape rebuild {schema}",))
    if not (await found.fetchone() or (False,))[0]:
        raise ProjectionError("another rebuild is at work on these tables: wait for it to end")
    pattern = f"^{schema}_[0-9a-f]{{12}}(_old)?$"
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

        def reached(at: int, end: int = end) -> None:
            progress(at, max(at, end))

        await store.catch_up(tape, after=reached)
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
    found = await connection.execute("SELECT to_regclass(%s)", (f'"{schema}".checkpoints',))
    if (await found.fetchone() or (None,))[0] is None:
        return None
    checkpoints = Identifier(schema, "checkpoints")
    await connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(checkpoints))
    row = await (await connection.execute(SQL("SELECT seq FROM {}").format(checkpoints))).fetchone()
    return int(row[0]) if row else 0


async def _rename(connection: Connection, schema: str, new: str, old: str) -> None:
    """Puts `new` in the place of `schema`, which becomes `old`. Grants follow, and views elsewhere that read it."""
    outside: list[tuple[str]] = []
    if old:
        grants = await connection.execute(sql("grants").encode(), {"old": schema, "new": new})
        for (grant,) in await grants.fetchall():
            await connection.execute(grant.encode())
        outside = await (await connection.execute(sql("outside_views").encode(), {"schema": schema})).fetchall()
        # A commit that had found the old table before it waited for the lock finds no checkpoint in it.
        await connection.execute(SQL("DELETE FROM {}").format(Identifier(schema, "checkpoints")))
        await connection.execute(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(schema), Identifier(old)))
    await connection.execute(SQL("ALTER SCHEMA {} RENAME TO {}").format(Identifier(new), Identifier(schema)))
    for (view,) in outside:
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
    await connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(old)))
    return True
