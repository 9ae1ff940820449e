"""How much is projected at once, and what that needs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Protocol, TypeVar, cast, runtime_checkable

from events.decision import Recorded
from events.market import CandleBlock
from events.scanned import Scanned
from events.tape import Tape

BATCH = 25_000  # facts, or rows of candle blocks, a transaction: when behind, its fixed costs vanish
LIVE = 5_000  # of what follows live: one batch is written and one waits, and what both take the process keeps for ever
_PAGE = 200  # entries, about a millisecond of folding
LINGER_S = 0.02  # a live batch waits this long for more: at most 50 transactions a second


Page = list[Recorded] | Scanned
T = TypeVar("T")


def weight_of(entry: Recorded) -> int:
    """How much work an entry is: its facts, and the rows of its candle blocks."""
    weight = 0
    for fact in entry.decision.facts:
        weight += fact.rows if type(fact) is CandleBlock else 1
    return weight


class Batch:
    """What goes into one transaction: pages in order, none of them empty."""

    def __init__(self, *pages: Page) -> None:
        self.pages = list(pages)

    @property
    def first(self) -> Recorded:
        page = self.pages[0]
        return page.entry(0) if isinstance(page, Scanned) else page[0]

    @property
    def last(self) -> Recorded:
        page = self.pages[-1]
        return page.entry(len(page) - 1) if isinstance(page, Scanned) else page[-1]

    @property
    def messages(self) -> int:
        return sum(map(len, self.pages))

    @property
    def weight(self) -> int:
        return sum(_summed(page, weight_of) for page in self.pages)

    @property
    def facts(self) -> int:
        return sum(_summed(page, lambda entry: len(entry.decision.facts)) for page in self.pages)

    def entries(self) -> list[Recorded]:
        found = []
        for page in self.pages:
            found += page.entries() if isinstance(page, Scanned) else page
        return found


def _summed(page: Page, of: Callable[[Recorded], int]) -> int:
    """Of each plain message the number of its facts, which is its weight too."""
    if isinstance(page, Scanned):
        return len(page.ts) + sum(map(of, page.alone.values()))
    return sum(map(of, page))


@runtime_checkable
class Paged(Protocol):
    """A tape that gives what it holds in pages: to await every single entry takes longer than to read it."""

    def pages(self, *, after: int = 0) -> AsyncIterator[Page]: ...


async def batched(tape: Tape, after: int, weight: int) -> AsyncGenerator[Batch, None]:
    """What is on the tape now, in batches of at least `weight`; the last one is what is left."""
    batch, so_far = Batch(), 0
    async with closing(tape.pages(after=after) if isinstance(tape, Paged) else _pages(tape, after)) as stored:
        async for page in stored:
            batch.pages.append(page)
            so_far += _summed(page, weight_of)
            if so_far >= weight:
                yield batch
                batch, so_far = Batch(), 0
            await asyncio.sleep(0)  # a batch that is being written goes on
    if batch.pages:
        yield batch


async def _pages(tape: Tape, after: int) -> AsyncGenerator[Page, None]:
    page: list[Recorded] = []
    async with closing(tape.read(after=after)) as stored:
        async for entry in stored:
            page.append(entry)
            if len(page) == _PAGE:
                yield page
                page = []
    if page:
        yield page


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
                if weight >= LIVE:
                    room.clear()
                    await room.wait()

    filling = asyncio.ensure_future(fill())
    filling.add_done_callback(lambda _: some.set())
    try:
        while not filling.done() or waiting:
            await some.wait()
            if weight < LIVE and not filling.done():
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


def closing(entries: AsyncIterator[T]) -> aclosing[AsyncGenerator[T, None]]:
    """Ends a reader when its block ends: the port promises iterators, and every tape gives generators."""
    return aclosing(cast("AsyncGenerator[T, None]", entries))


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
