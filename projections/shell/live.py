"""Following a tape: for ever, or to its present end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import psycopg

from events.decision import Recorded
from events.tape import Tape

from .errors import Swapped
from .schema import SCHEMA
from .store import BATCH, closing, opened, weight_of

log = logging.getLogger("tickertape.projections")

LINGER_S = 0.02  # a live batch waits this long for more: at most 50 transactions a second
LOST = (psycopg.OperationalError, psycopg.InterfaceError)


class Projector:
    """Keeps the tables up with a tape. Any number of processes may read them; only one projector can write."""

    def __init__(self, dsn: str, tape: Tape, *, schema: str = SCHEMA) -> None:
        self._dsn, self._tape, self._schema = dsn, tape, schema
        self.at = 0
        """The last committed tape sequence."""

    async def run(self) -> None:
        """Follows the tape for ever, from the checkpoint. A database that is away is waited for.

        Raises RebuildNeeded, Overtaken, and whatever the tape raises.
        """
        failures = 0
        while True:
            try:
                async with opened(self._dsn, self._schema, self._tape) as store:
                    self.at = store.seq
                    async with aclosing(batches(self._tape.follow(after=store.seq))) as following:
                        async for batch in following:
                            await store.take(batch)
                            self.at, failures = store.seq, 0
            except Swapped:
                log.info("the tables were rebuilt; going on with the new ones")
            except LOST as error:
                failures += 1
                log.warning("database: %s; trying again", str(error).strip() or type(error).__name__)
                await asyncio.sleep(min(5.0, 0.1 * 2**failures))


async def project_to_end(dsn: str, tape: Tape, *, schema: str = SCHEMA, batch: int = BATCH) -> int:
    """Projects what the tape holds now and returns the sequence reached. Raises as `Projector.run`, and psycopg's."""
    async with opened(dsn, schema, tape) as store:
        await store.catch_up(tape, batch)
        return store.seq


async def batches(entries: AsyncIterator[Recorded]) -> AsyncGenerator[list[Recorded], None]:
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
