"""Messages of a tape as columns: what a reader in a hurry is given of market data, which is most of a long tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .decision import Recorded
from .fact import Fact

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

UNKNOWN = -(2**63)
"""In `count`: the number of trades is not known."""


class Group(NamedTuple):
    """What facts have in common: the kind of actor that says them (`feed`, `market`), type, market, timeframe."""

    entity: str
    type: type[Fact]
    venue: str
    symbol: str
    timeframe: str

    @property
    def market(self) -> tuple[str, str]:
        return self.venue, self.symbol


class Scanned(msgspec.Struct, frozen=True):
    """Consecutive messages, by place, of which the *plain* ones were read into columns.

    Plain is a message of a feed or a market whose facts are all of one market, written as the codec writes them, of
    the types Trade, Quote, Book, Candle and FeedHeartbeat (of a market: Candle alone), their times in the years 1 to
    9999 and their texts short and without escapes. Whatever is otherwise is not plain.
    """

    seq: Ints
    known_at: Ints
    facts: NDArray[np.int32]
    """Of each message the number of its facts; 0 where it is not plain."""
    alone: dict[int, Recorded]
    """Those that are not plain, by place."""
    decode: Callable[[int], Recorded]
    """Of the message at a place."""

    groups: list[Group]
    message: NDArray[np.int32]
    """From here on: of each fact of the plain messages, in their order. The place of its message."""
    group: NDArray[np.int32]
    ts: Ints
    prices: Floats
    """(facts, 5): open, high, low, close and volume of candles."""
    count: Ints

    def __len__(self) -> int:
        return len(self.seq)

    def entry(self, place: int) -> Recorded:
        return self.alone.get(place) or self.decode(place)

    def entries(self) -> list[Recorded]:
        return [self.entry(place) for place in range(len(self))]
