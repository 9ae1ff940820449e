"""Outages: in every quarter of an hour the stream of one pair breaks, and comes back before it ends."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from events.timeframe import MINUTE

from .chance import key, whole
from .exchange import counts
from .pairs import PAIRS
from .settings import SimulatorSettings

WINDOW = 15  # minutes; an outage and what follows from it lie within one window, the first of which began in 1970
_LONGEST = 7  # minutes
_AFTER_MS = 250  # stamps of the stream's own facts lie between whole milliseconds, where trades are


class Outage(NamedTuple):
    """The stream is broken from `begin` up to `end`, and its bars of those minutes come in at `backfill`; all in µs."""

    symbol: str
    begin: int
    end: int
    backfill: int

    @property
    def minutes(self) -> range:
        """Those that are not whole in the stream."""
        return range(self.begin // MINUTE, self.end // MINUTE + 1)


@lru_cache(maxsize=64)
def outage(settings: SimulatorSettings, window: int) -> Outage | None:
    """That of a window, None where there is none.

    It ends so that the next minute has trades: a listener then knows the price again before it needs it.
    """
    if not settings.outages:
        return None
    one = PAIRS[whole(key(settings.seed, "outage", "pair"), window, settings.pairs)]
    first = window * WINDOW + 1 + whole(key(settings.seed, "outage", "minute"), window, 3)
    last = first + 2 + whole(key(settings.seed, "outage", "length"), window, 3)
    busy = counts(settings, one, np.arange(last + 1, first + _LONGEST + 1, dtype=np.int64)).nonzero()[0]
    if not len(busy):
        return None
    last += int(busy[0])
    begin = first * MINUTE + whole(key(settings.seed, "outage", "begin"), window, 60_000) * 1000 + _AFTER_MS
    end = last * MINUTE + whole(key(settings.seed, "outage", "end"), window, 59_000) * 1000 + _AFTER_MS
    wait = 3 + whole(key(settings.seed, "outage", "wait"), window, 2)
    return Outage(one.symbol, begin, end, (last + wait) * MINUTE + 20_000_000 + _AFTER_MS)


def of_pair(settings: SimulatorSettings, symbol: str, minute: int) -> Outage | None:
    """The outage in whose window a minute lies, where it is this pair's."""
    found = outage(settings, minute // WINDOW)
    return found if found is not None and found.symbol == symbol else None
