"""A stream's messages in pages of columns: gathered as they came, and read at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import cast

import numpy as np

from events.decision import Recorded
from events.scanned import Scanned

from .client import Delivery
from .reader import Made, known_at_of
from .refused import Refused
from .scan import ENTITIES, scanned

_PAGE = 10_000  # messages: what there is to do for each group of a page then costs next to nothing
Page = list[Recorded] | Scanned
Raw = tuple[int, str, Delivery, int]
"""Sequence, actor, message and append time in µs."""


def raw(seq: int, actor: str, message: Delivery, appended_at: int) -> Raw:
    return seq, actor, message, appended_at


async def in_columns(
    pages: AsyncIterator[Sequence[Raw | Recorded]], made: Made[Recorded], restored: int, refused: Refused
) -> AsyncIterator[Page]:
    """Entries, which come from an archive, stay what they are.

    `restored`: up to which sequence messages say themselves when they were first appended. `refused`: sequences of
    messages that were told to be unreadable, whatever they look like.
    """
    held: list[Raw | Recorded] = []
    async for page in pages:
        if held and (len(held) >= _PAGE or isinstance(page[0], Recorded) != isinstance(held[0], Recorded)):
            yield _page(held, made, restored, refused)
            held = []
        held += page
    if held:
        yield _page(held, made, restored, refused)


def _page(held: list[Raw | Recorded], made: Made[Recorded], restored: int, refused: Refused) -> Page:
    if isinstance(held[0], Recorded):
        return cast("list[Recorded]", held)
    return _scanned(cast("list[Raw]", held), made, restored, refused)


def _scanned(messages: list[Raw], made: Made[Recorded], restored: int, refused: Refused) -> Scanned:
    seqs, actors, found, times = zip(*messages, strict=True)
    bodies = [message.data for message in found]
    ends = np.cumsum(list(map(len, bodies)), dtype=np.int64)
    entities = np.array(list(map(_entity, actors)), np.int64)
    seq, known_at = np.array(seqs, np.int64), np.array(times, np.int64)
    for place in np.flatnonzero(seq <= restored).tolist():
        known_at[place] = known_at_of(found[place].headers, times[place])
    if refused:
        entities[[one in refused for one in seqs]] = 0
    begins = np.concatenate((np.zeros(1, np.int64), ends[:-1]))
    return scanned(b"".join(bodies), begins, ends, entities, seq, known_at, lambda place: made(*messages[place]))


@lru_cache(maxsize=65_536)
def _entity(actor: str) -> int:
    return next((code for name, code in ENTITIES.items() if actor.encode().startswith(name)), 0)
