"""Market data that was read into columns, folded column by column: the same rows and state as fact by fact.

A market's candles touch nothing but its own series and, where somebody holds a position in it, money. So of a page all
markets are swept of which nothing else is said there and in which nobody holds anything. What is said of the others,
and all that did not come as columns, is left to be folded entry by entry, in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from events.block import Columns
from events.decision import Recorded
from events.market import Candle, CandleBackfilled, CandleBlock, CandleRevised
from events.scanned import UNKNOWN, Group, Scanned
from events.trading import Fill

from .candles import NEVER, Block
from .fold import add
from .market import LIVE
from .money import marked_at_once
from .rows import Rows
from .state import MarketKey, State

_TOUCHING = (Fill, Candle, CandleBackfilled, CandleRevised, CandleBlock)
_BREATHE = 200  # entries, about a millisecond
_FEW = 8  # facts a group: with fewer, columns take longer than facts
Part = tuple[Group, NDArray[np.intp]]
"""A group, and the places of its facts in order."""


def folding(state: State, rows: Rows, page: list[Recorded] | Scanned) -> Iterator[None]:
    """Adds a page to a batch, as `fold.add` does, and stops in between: a batch is being written meanwhile."""
    parts = _parted(page) if isinstance(page, Scanned) else []
    entries = _sweep_markets(state, rows, page, parts) if isinstance(page, Scanned) else page
    for place in range(0, len(entries), _BREATHE):
        add(state, rows, entries[place : place + _BREATHE])
        yield
    if isinstance(page, Scanned):
        _sweep_feeds(rows, page, parts)


def _parted(page: Scanned) -> list[Part]:
    """Its facts by group; nothing where that is not worth it, so that all is folded entry by entry."""
    if len(page.ts) < _FEW * len(page.groups):
        return []
    order = np.argsort(page.group, kind="stable")
    ends = np.cumsum(np.bincount(page.group, minlength=len(page.groups)))
    return [(group, part) for group, part in zip(page.groups, np.split(order, ends[:-1]), strict=True) if len(part)]


def _sweep_markets(state: State, rows: Rows, page: Scanned, parts: list[Part]) -> list[Recorded]:
    """Adds to `rows` and `state` what can be done at once, and returns the entries that are left, in order."""
    if not parts:
        return page.entries()
    left = dict(page.alone)
    said = [(group, part) for group, part in parts if group.entity == "market"]
    bound = _touched(left.values()) | {key for key, market in state.markets.items() if market.positions}
    bound |= {group.market for group, part in said if not _follows(state, rows, page, group, part)}
    marks: dict[MarketKey, tuple[int, int]] = {}
    for group, part in said:
        if group.market in bound:
            left |= {place: page.entry(place) for place in page.message[part].tolist() if place not in left}
            continue
        message, last = page.message[part], int(part[-1])
        count = page.count[part]
        o, h, l, c, v = page.prices[part].T
        columns = Columns(page.ts[part], o, h, l, c, v, None if count[0] == UNKNOWN else count)
        series = rows.candles.at((*group.market, group.timeframe), state.series)
        rows.candles.add_block(series, Block(columns, page.seq[message], page.known_at[message], LIVE))
        marks[group.market] = max(marks.get(group.market, (NEVER, 0)), (int(page.ts[last]), last))
    for key, (ts, last) in marks.items():
        marked_at_once(state, rows, key, ts, float(page.prices[last, 3]))
    return [left[place] for place in sorted(left)]


def _sweep_feeds(rows: Rows, page: Scanned, parts: list[Part]) -> None:
    """When the entries that are left have been folded: of what a feed says only the newest counts."""
    for group, part in sorted(parts, key=lambda one: int(one[1][-1])):  # a message may hold facts of several groups
        last = int(part[-1])
        message = page.message[last]
        seq = int(page.seq[message])
        known = rows.feeds.get(group.market)
        if group.entity == "feed" and (known is None or known[2] <= seq):
            rows.feeds[group.market] = (group.type, int(page.ts[last]), seq, int(page.known_at[message]))


def _touched(entries: Iterable[Recorded]) -> set[MarketKey]:
    found = set()
    for entry in entries:
        for fact in entry.decision.facts:
            if isinstance(fact, _TOUCHING):
                found.add((fact.venue, fact.symbol))
    return found


def _follows(state: State, rows: Rows, page: Scanned, group: Group, part: NDArray[np.intp]) -> bool:
    """Whether each candle is newer than all before it, and all of them know their number of trades, or none."""
    ts, unknown = page.ts[part], page.count[part] == UNKNOWN
    key = (*group.market, group.timeframe)
    known = rows.candles.series.get(key)
    high = state.series.get(key, NEVER) if known is None else known.high
    return int(ts[0]) > high and bool((ts[1:] > ts[:-1]).all()) and bool((unknown == unknown[0]).all())
