"""How much the projector takes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from events import control as c
from events.decision import Decision, Recorded
from projections.batches import following, weight_of

MOST = 5_000  # facts: 3 MB
FACT = c.PauseBot(bot="b", ts=1, by="me", reason="")


async def test_what_has_waited_for_long_comes_in_parts() -> None:
    """A batch of all that waited took the projector 25 MB for 17,000 messages, which it never gave back."""

    async def tape() -> AsyncIterator[Recorded]:
        for seq in range(1, 3 * MOST + 1):
            yield Recorded(seq, "account", Decision(f"{seq:032x}", 0, "", seq, (FACT,)))

    seen: list[int] = []
    async with aclosing(following(tape())) as batches:
        async for batch in batches:
            assert sum(map(weight_of, batch)) <= MOST
            seen += [entry.seq for entry in batch]
            await asyncio.sleep(0.05)  # the writing of it, in which more comes
    assert seen == list(range(1, 3 * MOST + 1))
