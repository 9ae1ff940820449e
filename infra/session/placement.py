"""Which actors share a process. Logical actors and processes are two things: few get one each, many are packed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import ceil

PROCESSES = 8  # a Ray actor costs 47 MB and half a second to start: what a small machine carries with ease


def groups(actors: Sequence[str], processes: int = PROCESSES) -> list[tuple[str, ...]]:
    """Names of actors by process, in rank order. Entities (market, account, bot) never share one.

    One each while there are no more actors than `processes`; else every entity gets a share by its number.
    """
    by_entity = [tuple(group) for _, group in groupby(actors, key=lambda actor: actor.partition(".")[0])]
    if len(actors) <= processes:
        return [(actor,) for actor in actors]
    found = []
    for group in by_entity:
        share = max(1, round(processes * len(group) / len(actors)))
        size = ceil(len(group) / share)
        found += [group[start : start + size] for start in range(0, len(group), size)]
    return found


def role(group: Sequence[str]) -> str:
    """As what a process connects to the bus."""
    entity = group[0].partition(".")[0]
    return "symbol" if entity == "market" else entity


def name(group: Sequence[str]) -> str:
    """What the Ray dashboard calls the process: the actor's name, or the first and the number of the others."""
    return group[0] if len(group) == 1 else f"{group[0]}+{len(group) - 1}"
