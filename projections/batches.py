"""How much is projected at once, and what that needs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Protocol, cast, runtime_checkable

from events.decision import Recorded
from events.market import CandleBlock
from events.tape import Tape

BATCH = 25_000  # facts, or rows of candle blocks, a transaction: when behind, its fixed costs vanish
LINGER_S = 0.02  # a live batch waits this long for more: at most 50 transactions a second


def weight_of(entry: Recorded) -> int:
    """How much work an entry is: its facts, and the rows of its candle blocks."""
    weight = 0
    for fact in entry.decision.facts:
        weight += fact.rows if type(fact) is CandleBlock else 1
    return weight


@runtime_checkable
class Paged(Protocol):
    """A tape that gives what it holds in pages: to await every single entry takes longer than to read it."""

    def pages(self, *, after: int = 0) -> Iterator[list[Recorded]]: ...


Breathe = Callable[[], Awaitable[None]]
"""Lets others have their turn."""


async def batched(tape: Tape, after: int, weight: int, breathe: Breathe) -> AsyncGenerator[list[Recorded], None]:
    """What is on the tape now, in batches of at least `weight`; the last one is what is left."""
    batch: list[Recorded] = []
    so_far = 0
    async with aclosing(_pages(tape, after, breathe)) as stored:
        async for page in stored:
            batch += page
            so_far += sum(map(weight_of, page))
            if so_far >= weight:
                yield batch
                batch, so_far = [], 0
    if batch:
        yield batch


async def _pages(tape: Tape, after: int, breathe: Breathe) -> AsyncGenerator[list[Recorded], None]:
    if isinstance(tape, Paged):
        for page in tape.pages(after=after):
            yield page
            await breathe()  # a batch that is being written goes on
        return
    async with closing(tape.read(after=after)) as stored:
        async for entry in stored:
            yield [entry]


async def following(entries: AsyncIterator[Recorded]) -> AsyncGenerator[list[Recorded], None]:
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


def closing(entries: AsyncIterator[Recorded]) -> aclosing[AsyncGenerator[Recorded, None]]:
    """Ends a reader when its block ends: the port promises iterators, and every tape gives generators."""
    return aclosing(cast("AsyncGenerator[Recorded, None]", entries))


@contextmanager
def no_collection() -> Iterator[None]:
    """A batch makes many rows and no cycles: looking for them would take more time than all else."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
