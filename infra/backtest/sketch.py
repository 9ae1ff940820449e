"""What the figures of a sweep need of an equity curve: far less than its points."""

from __future__ import annotations

import numpy as np

from actors import kernels
from events.block import Ints
from events.timeframe import DAY
from infra.backtest.result import Curve, Sketch

_BLOCK = 512


def sketch_of(curve: Curve) -> Sketch:
    final = float(curve.equity[-1]) if len(curve) else curve.start
    return Sketch(few(curve), len(curve), final, int(np.count_nonzero(curve.held)), max_drawdown(curve))


def few(curve: Curve) -> Curve:
    at = day_ends(curve.ts)
    return Curve(curve.currency, curve.start, curve.ts[at], curve.equity[at], curve.gross[:0], curve.held[:0])


def day_ends(ts: Ints) -> Ints:
    """The first point, and the last of each UTC day (one at midnight belongs to the day that ends)."""
    if not len(ts):
        return np.empty(0, np.int64)
    midnights = DAY * np.arange((int(ts[0]) - 1) // DAY + 1, (int(ts[-1]) - 1) // DAY + 2)
    ends = np.searchsorted(ts, midnights, "right") - 1
    return np.concatenate(([0], ends[np.diff(ends, prepend=0) > 0]))


def max_drawdown(curve: Curve) -> float | None:
    """As `Sketch.deepest`.

    The blocks that may hold it are told from their extremes, so that most points are looked at only for these.
    """
    equity, rows = curve.equity, len(curve)
    if not rows or curve.start <= 0:
        return 0.0 if rows else None
    if kernels.is_warm():
        from infra.backtest import loops

        return float(loops.fall(equity, curve.start)) - 1
    whole = rows - rows % _BLOCK
    blocks, rest = equity[:whole].reshape(-1, _BLOCK), equity[whole:]
    high = np.concatenate((blocks.max(axis=1), [rest.max()] if len(rest) else []))
    low = np.concatenate((blocks.min(axis=1), [rest.min()] if len(rest) else []))
    before = np.maximum(np.concatenate(([curve.start], np.maximum.accumulate(high)[:-1])), curve.start)
    bound = np.where(low >= 0, low / np.maximum(before, high), low / before) - 1
    deepest = 0.0
    for block in np.argsort(bound, kind="stable").tolist():
        if bound[block] >= deepest:
            break
        part = equity[block * _BLOCK : (block + 1) * _BLOCK]
        peaks = np.maximum(np.maximum.accumulate(part), before[block])
        deepest = min(deepest, float((part / peaks).min()) - 1)
    return deepest
