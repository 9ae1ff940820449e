"""A symbol's candles in columns: which of them its decider would pass on unchanged, and its state after those."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from events.block import Columns, candles

from .decider import SymbolDecider
from .rules import PRICE_MAX, RECENT_MAX, TRIM, VOLUME_MAX, Rules
from .state import SymbolState

Flags = NDArray[np.bool_]


class Judged(msgspec.Struct, frozen=True):
    """`heard`: rows whose decision holds the candle. `plain`: rows whose decision is the candle and nothing else."""

    heard: Flags
    plain: Flags


def eligible(decider: SymbolDecider) -> bool:
    """Whether columns can be judged at all: bars from outside, and no bars to be made of them."""
    return not decider.rules.trades and not decider.rules.higher


def judged(decider: SymbolDecider, state: SymbolState, rows: Columns) -> Judged:
    """`rows` in the order in which the feed says them, in the symbol's base timeframe, after what `state` knows.

    A row that is not called plain may still turn out to be: it is then decided the long way, to the same end.
    """
    rules = decider.rules
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


def _sound(rules: Rules, rows: Columns) -> Flags:
    """As `validation.candle_fault` finds nothing."""
    o, h, l, c, v, ts = rows.open, rows.high, rows.low, rows.close, rows.volume, rows.ts
    fine: Flags = (l <= o) & (o <= h) & (h <= PRICE_MAX) & (l > 0.0) & (l <= c) & (c <= h)
    fine &= (v >= 0.0) & (v <= VOLUME_MAX)
    fine &= (ts >= rules.low) & (ts <= rules.high) & ((ts - rules.origin) % rules.step == 0)
    if rows.count is not None:
        fine &= rows.count >= 0
    return fine


def pass_over(decider: SymbolDecider, state: SymbolState, rows: Columns) -> None:
    """Takes in rows that are all plain, as `observe` and `evolve` would one by one."""
    if not len(rows):
        return
    state.last, state.close = int(rows.ts[-1]), float(rows.close[-1])
    if state.stream.torn:
        state.stream.torn = [run for run in state.stream.torn if run[1] > state.last]
    remember(decider.rules, state, rows)


def remember(rules: Rules, state: SymbolState, rows: Columns) -> None:
    """The memory of newest bars is trimmed whenever it is full; what would be dropped again is never put in."""
    full = RECENT_MAX + TRIM
    known = len(state.recent)
    total = known + len(rows)
    dropped = 0 if total < full else TRIM * ((total - full) // TRIM + 1)
    old = list(state.recent)[:dropped]
    for ts in old:
        del state.recent[ts]
    skip = dropped - len(old)
    if dropped:
        newest = int(rows.ts[skip - 1]) if skip else 0
        state.evicted = max(state.evicted, newest, *old)
    for candle in candles(rules.venue, rules.symbol, rules.base.name, rows[slice(skip, None)]):
        state.recent[candle.ts] = candle
