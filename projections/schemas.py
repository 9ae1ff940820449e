"""The schemas that hold a tape's tables: their names, and how they go."""

from __future__ import annotations

import logging
import re

from .asking import Connection, one
from .outcome import RebuildAtWork
from .statements import quoted
from .tables import sql

log = logging.getLogger("tickertape.projections")


def schema_of(tape: str) -> str:
    """The schema of a tape's tables: `tickertape` for the tape `main`, `tickertape_<tape>` for another."""
    return "tickertape" if tape == "main" else f"tickertape_{tape}"


def name_in_sql(tape: str) -> str:
    """The schema of a tape as a person types it: quoted only where it has to be."""
    schema = schema_of(tape)
    return schema if schema.replace("_", "").isalnum() and schema.islower() else quoted(schema)


def beside(schema: str, generation: str) -> str:
    """A schema for new tables beside those of `schema`; no tape's name can hold a tilde."""
    return f"{schema}~{generation[:12]}"


async def clear_the_way(connection: Connection, schema: str) -> None:
    """Takes the lock of rebuilds, and removes what a rebuild that died has left."""
    if not await one(connection, b"SELECT pg_try_advisory_lock(hashtext(%s))", f"tickertape rebuild {schema}"):
        raise RebuildAtWork
    pattern = f"^{re.escape(schema)}~[0-9a-f]{{12}}(_old)?$"
    left = await connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ %s", (pattern,))
    for (name,) in await left.fetchall():
        await dropped(connection, name)


async def dropped(connection: Connection, old: str) -> bool:
    """Whether nothing outside reads the old tables any more, so that they could go."""
    found = await connection.execute(sql("outside_readers").encode(), {"schema": old})
    readers = [name for (name,) in await found.fetchall()]
    if readers:
        log.warning("the old tables stay in the schema %s, because %s reads them", old, ", ".join(readers))
        return False
    await connection.execute(f"DROP SCHEMA {quoted(old)} CASCADE".encode())
    return True
