"""A symbol's candles in columns: which of them its decider would pass on unchanged, and its state after those."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from actors import kernels
from events import subjects
from events.block import Columns, Ints, candle_list, joined

from .decider import SymbolDecider
from .rules import PRICE_MAX, PRICE_MIN, RECENT_MAX, TRIM, VOLUME_MAX, Rules
from .state import SymbolState

Flags = NDArray[np.bool_]


class Judged(msgspec.Struct, frozen=True, dict=True):
    """`heard`: rows whose decision holds the candle. `plain`: rows whose decision is the candle and nothing else."""

    heard: Flags
    plain: Flags

    @cached_property
    def every(self) -> bool:
        """Whether all rows are heard."""
        return bool(self.heard.all())

    @cached_property
    def odd(self) -> Ints:
        """The rows that are not plain."""
        return np.flatnonzero(~self.plain)


Judge = Callable[[SymbolDecider, SymbolState, Columns], Judged]


def eligible(decider: SymbolDecider) -> bool:
    """Whether columns can be judged at all: bars from outside, and no bars to be made of them."""
    return not decider.rules.trades and not decider.rules.higher


def judged(decider: SymbolDecider, state: SymbolState, rows: Columns) -> Judged:
    """`rows` in the order in which the feed says them, in the symbol's base timeframe, after what `state` knows.

    A row that is not called plain may still turn out to be: it is then decided the long way, to the same end. Raises
    ValueError where the rows are not in order of time.
    """
    rules, plan = decider.rules, decider.plan
    if (found := _all_plain(rules, state, rows)) is not None:
        return found
    if (rows.ts[1:] < rows.ts[:-1]).any():
        raise ValueError(f"the candles of {subjects.feed(plan.venue, plan.symbol)} are not in order of time")
    sound = _sound(rules, rows)
    ts = np.where(sound, rows.ts, 0)
    newest = np.maximum.accumulate(np.concatenate(([state.last], ts[:-1]))) if len(ts) else ts
    heard = sound & (ts > newest)
    at = np.flatnonzero(heard)
    before = np.concatenate(([state.last], rows.ts[at][:-1])) if at.size else rows.ts[at]
    price = np.concatenate(([state.close], rows.close[at][:-1])) if at.size else rows.close[at]
    near = np.abs(rows.close[at] - price) <= rules.jump * price
    # A bar in between that is late or refused may have changed what the next one is held against.
    follows = np.concatenate(([True], np.diff(at) == 1)) if at.size else near
    stream = state.stream
    if rules.flat:
        follows &= rows.ts[at] == before + rules.step
    elif not (rules.calendar.continuous and not stream.torn and not stream.broken):
        follows &= (rows.ts[at] == before + rules.step) & (not stream.broken)
    plain = np.zeros(len(rows), np.bool_)
    plain[at[near & follows]] = True
    return Judged(heard, plain)


def _all_plain(rules: Rules, state: SymbolState, rows: Columns) -> Judged | None:
    """The usual case, found quickly: sound bars, each one step after the one before. None where it is not so."""
    ts = rows.ts
    if not len(ts) or not state.close or state.stream.broken or state.stream.torn:
        return None
    if int(ts[0]) != state.last + rules.step or int(ts[0]) < rules.low or int(ts[-1]) > rules.high:
        return None
    if not abs(float(rows.close[0]) - state.close) <= rules.jump * state.close or not _steady(rules, rows):
        return None
    yes = np.ones(len(ts), np.bool_)
    return Judged(yes, yes)


def _steady(rules: Rules, rows: Columns) -> bool:
    """Whether all bars are sound, one step after and not far from the one before."""
    ts, close = rows.ts, rows.close
    if kernels.is_warm() and rows.count is None:
        columns = (ts, rows.open, rows.high, rows.low, close, rows.volume)
        return kernels.steady(columns, rules.step, (PRICE_MAX, VOLUME_MAX, rules.jump))
    if (ts[1:] - ts[:-1] != rules.step).any() or not _in_bounds(rows).all():
        return False
    before = close[:-1]
    return bool((np.abs(close[1:] - before) <= rules.jump * before).all())


def _sound(rules: Rules, rows: Columns) -> Flags:
    """As `validation.candle_fault` finds nothing."""
    ts = rows.ts
    stamped: Flags = (ts >= rules.low) & (ts <= rules.high) & ((ts - rules.origin) % rules.step == 0)
    return stamped & _in_bounds(rows)


def _in_bounds(rows: Columns) -> Flags:
    o, h, l, c, v = rows.open, rows.high, rows.low, rows.close, rows.volume
    fine: Flags = (l <= o) & (o <= h) & (h <= PRICE_MAX) & (l >= PRICE_MIN) & (l <= c) & (c <= h)
    fine &= (v >= 0.0) & (v <= VOLUME_MAX)
    if rows.count is not None:
        fine &= rows.count >= 0
    return fine


def pass_over(state: SymbolState, rows: Columns) -> None:
    """Takes in rows that are all plain, as `observe` and `evolve` would one by one, but for `remember`."""
    state.last, state.close = int(rows.ts[-1]), float(rows.close[-1])
    if state.stream.torn:
        state.stream.torn = [run for run in state.stream.torn if run[1] > state.last]


KEPT = RECENT_MAX + TRIM + 1
"""So many of the last rows are enough for `remember`."""


def remember(rules: Rules, state: SymbolState, rows: Columns, count: int | None = None) -> None:
    """The memory of newest bars is trimmed whenever it is full; what would be dropped again is never put in.

    `rows`: the last of `count` rows that are to be remembered, KEPT at least; or all.
    """
    full, count = RECENT_MAX + TRIM, len(rows) if count is None else count
    total = len(state.recent) + count
    dropped = 0 if total < full else TRIM * ((total - full) // TRIM + 1)
    old = list(state.recent)[:dropped]
    for ts in old:
        del state.recent[ts]
    skip = dropped - len(old) - (count - len(rows))  # in `rows`
    if dropped:
        newest = int(rows.ts[skip - 1]) if dropped > len(old) else 0
        state.evicted = max(state.evicted, newest, *old)
    left = rows[slice(max(0, skip), None)]
    state.recent.update(
        zip(left.ts.tolist(), candle_list(rules.venue, rules.symbol, rules.base.name, left), strict=True)
    )


class Tail:
    """The last of many rows."""

    def __init__(self) -> None:
        self.count = 0
        self.rows: Columns | None = None

    def add(self, rows: Columns) -> None:
        self.count += len(rows)
        if self.rows is not None and len(rows) < KEPT:
            rows = joined(self.rows, rows)
        if len(rows) > KEPT:
            rows = rows[np.arange(len(rows) - KEPT, len(rows))]  # a copy: the rest of the window may go
        self.rows = rows
