"""A campaign: faults drawn from a seed, one after the other or together, and how long it took to get over each."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import msgspec

from scripts.chaos.faults import Kind, Missed, Place
from scripts.chaos.observer import Observer
from scripts.chaos.stack import Log, Stack

PATIENCE_S = 420.0  # a session starts in ten seconds on a quiet machine, in minutes on one with ten times its work
MISSES_MAX = 20  # of one fault, tried again: the process it was to hit had just ended


class Hit(msgspec.Struct, frozen=True):
    """A fault that has happened. `held_s`: from the first of it until nothing was held back any more; `recovered_s`:
    from then on until all actors and the tables went on."""

    number: int
    kind: str
    target: str
    held_s: float
    recovered_s: float


class Stuck(Exception):
    """The system did not get over a fault."""


class Campaign:
    def __init__(self, stack: Stack, seen: Observer, log: Log, seed: int) -> None:
        self._place = Place(stack, seen, random.Random(seed))
        self._log = log
        self.hits: list[Hit] = []
        self.misses = 0

    async def run(self, volleys: Sequence[Sequence[Kind]]) -> None:
        """Each volley begins when all of the one before has been got over. Raises Stuck."""
        number = 0
        for volley in volleys:
            async with asyncio.TaskGroup() as together:
                for kind in volley:
                    number += 1
                    together.create_task(self._one(number, kind))

    async def _one(self, number: int, kind: Kind) -> None:
        place, began = self._place, time.monotonic()
        for _ in range(MISSES_MAX):
            try:
                began = time.monotonic()
                target = await kind.run(place)
                break
            except Missed as reason:
                self.misses += 1
                self._log("missed", number=number, kind=kind.name, reason=str(reason))
                await asyncio.sleep(0.1)
        else:
            raise Stuck(f"fault {number}, {kind.name}: there was nothing to hit for {MISSES_MAX} times")
        held = time.monotonic() - began
        self._log("fault", number=number, kind=kind.name, target=target, held_s=round(held, 3))
        took = await place.seen.recovered(PATIENCE_S)
        if took is None:
            raise Stuck(f"fault {number}, {kind.name} on {target}: not got over within {PATIENCE_S:g} s")
        self._log("recovered", number=number, kind=kind.name, after_s=round(took, 3))
        self.hits.append(Hit(number, kind.name, target, held, took))


def drawn(kinds: Sequence[Kind], count: int, chance: random.Random, together: float) -> list[list[Kind]]:
    """`count` faults by weight, every kind at least once.

    `together`: how probably a light one joins those before it; any other one does with its square.
    """
    if count < len(kinds):
        raise ValueError(f"{count} faults are too few for {len(kinds)} kinds")
    spare = chance.choices(kinds, [kind.weight for kind in kinds], k=count - len(kinds))
    picked = [*kinds, *spare]
    chance.shuffle(picked)
    volleys: list[list[Kind]] = []
    for kind in picked:
        if volleys and chance.random() < (together if kind.light else together**2):
            volleys[-1].append(kind)
        else:
            volleys.append([kind])
    return volleys
