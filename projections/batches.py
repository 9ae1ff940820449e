"""How much is projected at once, and what that needs."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import cast

from events.decision import Recorded
from events.market import CandleBlock

BATCH = 25_000  # facts, or rows of candle blocks, a transaction: when behind, its fixed costs vanish
LINGER_S = 0.02  # a live batch waits this long for more: at most 50 transactions a second


def weight_of(entry: Recorded) -> int:
    """How much work an entry is: its facts, and the rows of its candle blocks."""
    weight = 0
    for fact in entry.decision.facts:
        weight += fact.rows if type(fact) is CandleBlock else 1
    return weight


async def batched(entries: AsyncIterator[Recorded], weight: int) -> AsyncGenerator[list[Recorded], None]:
    """Batches of at least `weight`; the last one is what is left."""
    batch, so_far = [], 0
    async with closing(entries) as stored:
        async for entry in stored:
            batch.append(entry)
            so_far += weight_of(entry)
            if so_far >= weight:
                yield batch
                batch, so_far = [], 0
    if batch:
        yield batch


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
