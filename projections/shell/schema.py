"""Making the tables of one schema, on PostgreSQL as it is or with TimescaleDB, and hashing what is in them."""

from __future__ import annotations

import logging
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from ..fold import PROJECTION, VERSION
from ..tables import sql, tables

log = logging.getLogger("tickertape.projections")

SCHEMA = "tickertape"
OPTIONS: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 10, "application_name": "tickertape projector"}

Connection = psycopg.AsyncConnection[Any]


async def make_schema(connection: Connection, schema: str, tape: str, generation: str) -> None:
    """Makes schema, tables and views, all or nothing, where there are none."""
    timescale = await _timescale(connection)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (f"tickertape make {schema}",))
        found = await connection.execute("SELECT to_regclass(%s)", (f'"{schema}".checkpoints',))
        if (await found.fetchone() or (None,))[0] is not None:
            return
        await connection.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
        path = SQL("SET LOCAL search_path TO {}, {}, public")
        await connection.execute(path.format(Identifier(schema), Identifier(await extension_schema(connection))))
        await connection.execute(sql("tables").encode())
        for script in _SCRIPTS[timescale]:
            await connection.execute(sql(script).encode())
        await connection.execute(sql("views").encode())
        await connection.execute(
            "INSERT INTO checkpoints VALUES (%s, %s, %s, %s, '', 0, '')", (PROJECTION, VERSION, generation, tape)
        )


_SCRIPTS = {
    "none": ("plain", "aggregates_plain"),
    "apache": ("hypertables", "aggregates_plain"),
    "timescale": ("hypertables", "columnstore", "aggregates_timescale"),
}
"""By what there is: no TimescaleDB, its Apache part, all of it."""


async def _timescale(connection: Connection) -> str:
    """Whether TimescaleDB is there, and under which licence; it is created where it is only installed."""
    found = await (await connection.execute(sql("timescale").encode())).fetchone()
    assert found is not None
    created, loaded = found
    if not created and loaded:
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            created = True
        except psycopg.Error as error:
            log.info("TimescaleDB is installed but cannot be created, so plain tables it is: %s", error)
    if not created:
        return "none"
    licence = await (await connection.execute("SELECT current_setting('timescaledb.license', true)")).fetchone()
    return "timescale" if licence and licence[0] == "timescale" else "apache"


async def extension_schema(connection: Connection) -> str:
    query = "SELECT extnamespace::regnamespace::text FROM pg_extension WHERE extname = 'timescaledb'"
    found = await (await connection.execute(query)).fetchone()
    return str(found[0]) if found else "public"


async def table_hashes(dsn: str, *, schema: str = SCHEMA) -> dict[str, str]:
    """A hash of all rows and columns of each table, the same on every PostgreSQL."""
    async with await psycopg.AsyncConnection.connect(dsn, **OPTIONS) as connection:
        await connection.execute(b"SET TIME ZONE 'UTC'; SET DateStyle TO ISO; SET bytea_output TO hex")
        found = {}
        for table in sorted(tables()):
            columns = [column for column in tables()[table].columns if column != "generation"]
            row = SQL("ROW({})").format(SQL(",").join(map(Identifier, columns)))
            query = SQL(sql("hash")).format(row, Identifier(schema, table))
            answer = await (await connection.execute(query)).fetchone()
            assert answer is not None
            found[table] = str(answer[0])
        return found
