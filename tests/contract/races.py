"""Writers that race for one actor, and the proof that the chain of decisions held.

By hand, for more: `python -m tests.contract.races nats://127.0.0.1:4222 --replicas 1 --appends 100000`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Sequence
from uuid import uuid4

from events.decision import Recorded
from events.tape import LostRace, Tape
from infra.tapes.jetstream import JetStreamTape

from .making import KINDS, all_of, decision


async def race(writers: Sequence[Tape], actor: str, *, appends: int, chance: random.Random) -> list[tuple[int, str]]:
    """All writers append to `actor` until `appends` are in; each names as its cause what it expected to be last.

    Between them they also append as actors of their own. Returns (sequence, id) of what each was told it had won.
    """
    won: list[tuple[int, str]] = []

    async def run(number: int, tape: Tape) -> None:
        mine, attempt = 0, 0
        while len(won) < appends:
            last = await tape.last(actor)
            expected = last.seq if last else 0
            attempt += 1
            bid = decision(f"writer {number}", attempt, chance.choice(KINDS), cause=expected)
            if len(won) >= appends:
                return
            won.append((0, bid.id))  # takes the place, so that no more than `appends` can win
            try:
                won[won.index((0, bid.id))] = (await tape.append(actor, bid, expected=expected), bid.id)
            except LostRace:
                won.remove((0, bid.id))
            if chance.random() < 0.2:
                other = f"bot.w{number}"
                mine = await tape.append(other, decision(other, attempt, chance.choice(KINDS)), expected=mine)

    await asyncio.gather(*(run(number, tape) for number, tape in enumerate(writers)))
    return won


def assert_unbroken(entries: Sequence[Recorded]) -> None:
    """Each decision was made on the one before it (they name it as cause), and none is there twice."""
    assert [entry.decision.cause for entry in entries] == [0, *(entry.seq for entry in entries[:-1])]
    assert len({entry.decision.id for entry in entries}) == len(entries)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--appends", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    name = f"race-{uuid4().hex[:8]}"
    tapes = [await JetStreamTape.connect(options.url, name, replicas=options.replicas) for _ in range(options.writers)]
    won = await race(tapes, "bot.raced", appends=options.appends, chance=random.Random(options.seed))
    found = await all_of(tapes[0].read(["bot.raced.>"]))
    assert_unbroken(found)
    assert [(entry.seq, entry.decision.id) for entry in found] == sorted(won)
    print(f"{len(found)} appends by {options.writers} writers on {name}: no broken link")  # noqa: T201 - a script
    for tape in tapes:
        await tape.close()


if __name__ == "__main__":
    asyncio.run(main())
