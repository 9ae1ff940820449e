"""What the tests ask tape and tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable

from events.decision import Recorded
from events.tape import TapeError
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import schema_of
from tests.session.command import Running


async def entries(tape: JetStreamTape, patterns: Sequence[str], after: int = 0) -> list[Recorded]:
    return [entry async for entry in tape.read(patterns, after=after)]


@asynccontextmanager
async def opened(running: Running, url: str, name: str) -> AsyncIterator[JetStreamTape]:
    """The tape of a session that is about to start."""
    tape: JetStreamTape | None = None

    async def there() -> bool:
        nonlocal tape
        with suppress(TapeError):
            tape = await JetStreamTape.connect(url, name, create=False)
        return tape is not None

    await running.eventually(there, "tape")
    assert tape is not None
    try:
        yield tape
    finally:
        await tape.close()


async def trades(tape: JetStreamTape, after: int, accounts: tuple[str, ...] = ("aaa", "bbb")) -> bool:
    """Whether each account has had a fill since."""
    return all([await entries(tape, [f"account.{name}.fill"], after) for name in accounts])


async def rows(dsn: str, tape: str, query: str) -> list[tuple[Any, ...]]:
    """Of the tape's own tables; none where there are no tables yet."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        schema: Composable = SQL("SET search_path TO {}").format(SQL(f'"{schema_of(tape)}"'))
        await connection.execute(schema)
        try:
            return await (await connection.execute(query.encode())).fetchall()
        except psycopg.errors.UndefinedTable:
            return []


async def whole(dsn: str, tape: str) -> dict[str, int]:
    """Minute bars by symbol, none of which may be missing between the first and the last."""
    query = """SELECT symbol, count(*), extract(epoch FROM max(ts) - min(ts))::int8 / 60 + 1 FROM candles
               WHERE timeframe = '1m' GROUP BY symbol ORDER BY symbol"""
    found = await rows(dsn, tape, query)
    assert all(have == should for _, have, should in found), found
    return {symbol: have for symbol, have, _ in found}
