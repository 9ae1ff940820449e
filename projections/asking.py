"""Small questions about a database, asked over a connection that the shell has opened."""

from __future__ import annotations

from typing import Any, cast

from .rows import Row
from .statements import quoted

Connection = Any
"""psycopg's, asynchronous."""


async def extensions(connection: Connection) -> str:
    """The schema of TimescaleDB's functions."""
    query = b"SELECT max(extnamespace::regnamespace::text) FROM pg_extension WHERE extname = 'timescaledb'"
    return str(await one(connection, query) or "public")


async def exists(connection: Connection, schema: str) -> bool:
    return bool(await one(connection, b"SELECT to_regclass(%s) IS NOT NULL", quoted(schema, "checkpoints")))


async def row(connection: Connection, query: bytes, *values: object) -> Row:
    found = await (await connection.execute(query, values or None)).fetchone()
    assert found is not None, query
    return cast("Row", found)


async def one(connection: Connection, query: bytes, *values: object) -> Any:
    return (await row(connection, query, *values))[0]


async def locked(connection: Connection, schema: str) -> int | None:
    """Shuts a live projector out, between two of its commits, and says how far it is; None where nothing is there."""
    if not await exists(connection, schema):
        return None
    checkpoints = quoted(schema, "checkpoints")
    await connection.execute(f"LOCK TABLE {checkpoints} IN ACCESS EXCLUSIVE MODE".encode())
    return int(await one(connection, f"SELECT coalesce(max(seq), 0) FROM {checkpoints}".encode()))
