"""Watches tape and tables past the proxies: how far the market has come, and how far it has been projected."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg

from events.tape import TapeError
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import schema_of

POLL_S = 0.03
AWAY_S = 0.2
BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tickertape projector'"


class Observer:
    """`feed`: sequence of the newest fact of one market; `projected`: the tables' checkpoint; both as last seen."""

    def __init__(self, connect: Callable[[], Awaitable[JetStreamTape]], dsn: str, tape: str, market: str) -> None:
        self._connect, self._dsn, self._tape, self._market = connect, dsn, tape, market
        self.feed = self.projected = 0
        self.backends: tuple[int, ...] = ()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        tasks = [asyncio.ensure_future(self._watch_tape()), asyncio.ensure_future(self._watch_tables())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def recovered(self, patience_s: float) -> float | None:
        """Seconds until two more facts of one market stand on the tape and the first of them in the tables, or None.

        The second is published only when every actor has dealt with the first and with all in between.
        """
        began, before = time.monotonic(), self.feed
        first = second = 0
        while time.monotonic() - began < patience_s:
            if self.feed > before and not first:
                first = self.feed
            if first and self.feed > first:
                second = self.feed
            if second and self.projected >= first:
                return time.monotonic() - began
            await asyncio.sleep(POLL_S)
        return None

    async def _watch_tape(self) -> None:
        while True:
            with contextlib.suppress(TapeError, OSError):
                tape = await self._connect()
                try:
                    while True:
                        self.feed = await tape.last_match(self._market)
                        await asyncio.sleep(POLL_S)
                finally:
                    await tape.close()
            await asyncio.sleep(AWAY_S)

    async def _watch_tables(self) -> None:
        query = f'SELECT seq FROM "{schema_of(self._tape)}".checkpoints'.encode()
        while True:
            with contextlib.suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
                    while True:
                        found = await (await connection.execute(query)).fetchone()
                        self.projected = int(found[0]) if found else 0
                        self.backends = tuple(
                            int(pid) for (pid,) in await (await connection.execute(BACKENDS)).fetchall()
                        )
                        await asyncio.sleep(POLL_S)
            await asyncio.sleep(AWAY_S)
