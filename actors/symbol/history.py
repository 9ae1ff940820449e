"""Blocks of history: the same rules as for single bars, worked out in columns."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from events import block
from events.block import Columns
from events.decision import Recorded
from events.fact import Fact
from events.market import CandleBlock, GapFilled, GapFound

from . import candles, flow, gaps, ladder, validation
from .bars import Bar, of_candle, totals
from .ladder import Frame, Ladder
from .rules import RECENT_MAX, REJECTED_MAX, Grid, Rules
from .state import SymbolState


def answer(rules: Rules, state: SymbolState, entry: Recorded, fact: CandleBlock) -> tuple[Fact, ...]:
    """Flags, then the accepted rows as blocks of every timeframe, then the gaps found and filled."""
    if fault := validation.block_fault(rules, fact):
        return (validation.quarantined(entry, *fault, validation.original(fact)),)
    try:
        rows = block.unpack(fact)
    except ValueError as error:
        return (validation.quarantined(entry, "malformed", str(error), validation.original(fact)),)
    faults = validation.row_faults(rules, rows, rules.latest(entry))
    out = _rejected(entry, rows, faults) if (faults != "").any() else []
    rows = rows[faults == ""]
    late = rows.ts <= max(state.last, state.ladder.sealed)
    # Where bars are made of trades, history may come before the stream and fill its gaps, but not run ahead of it.
    ahead = ~late if rules.trades and state.stream.reached else np.zeros(len(rows), bool)
    wanted = ~late & ~ahead
    for row in np.flatnonzero(late).tolist():
        wanted[row] = gaps.fills(rules, state.ladder.holes, int(rows.ts[row])) >= 0
    if (late & ~wanted).any():
        out += _known(rules, state, rows[late & ~wanted])
    if ahead.any():
        out.append(flow.flag(rules, int(rows.ts[-1]), "early", f"{ahead.sum()} rows, where bars are made of trades"))
    rows = rows[wanted]
    return (*out, *_accepted(rules, state, rows)) if len(rows) else tuple(out)


def _rejected(entry: Recorded, rows: Columns, faults: NDArray[np.str_]) -> list[Fact]:
    bad = np.flatnonzero(faults != "")
    counts = Counter(faults[bad].tolist())
    detail = "rows rejected: " + ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
    if len(bad) > REJECTED_MAX:
        detail += f"; the first {REJECTED_MAX} are here, the rest stands in message {entry.decision.id}"
        bad = bad[:REJECTED_MAX]
    some = rows[bad]
    columns = [getattr(some, name).tolist() for name in ("ts", "open", "high", "low", "close", "volume")]
    raw = [list(row) for row in zip(*columns, faults[bad].tolist(), strict=True)]
    return [validation.quarantined(entry, "rows", detail, json.dumps(raw).encode())]


def _known(rules: Rules, state: SymbolState, rows: Columns) -> list[Fact]:
    """Rows that are no news, in one sentence each for those that came before and those that come too late."""
    again: list[int] = []
    late: list[int] = []
    for c in block.candles(rules.venue, rules.symbol, rules.base.name, rows):
        known = state.recent.get(c.ts)
        (again if known is not None and candles.same(known, c) else late).append(c.ts)
    found: list[Fact] = []
    for issue, stamps in (("duplicate", again), ("late", late)):
        if stamps:
            detail = f"{len(stamps)} rows of a block, from {stamps[0]} to {stamps[-1]}"
            found.append(flow.flag(rules, stamps[-1], issue, detail))
    return found


def _accepted(rules: Rules, state: SymbolState, rows: Columns) -> list[Fact]:
    steps = state.ladder.fork()
    risen, found, filled = absorb(rules, steps, state.last, candles.frontier(rules, state), rows)
    over = candles.overflow(rules, state, len(found))
    blocks = [*block.pack(rules.venue, rules.symbol, rules.base.name, rows)]
    for one, columns in zip(rules.higher, risen, strict=True):
        blocks += block.pack(rules.venue, rules.symbol, one.name, columns)
    return [*over, *blocks, *found, *filled]


def evolve(rules: Rules, state: SymbolState, fact: CandleBlock) -> None:
    """Takes in a block of the base timeframe; the gaps in it are found again rather than read from their facts."""
    rows = block.unpack(fact)
    absorb(rules, state.ladder, state.last, candles.frontier(rules, state), rows)
    newest = rows[slice(-RECENT_MAX, None)]
    if len(rows) > len(newest):
        state.evicted = max(state.evicted, int(rows.ts[-len(newest) - 1]))
    for c in block.candles(rules.venue, rules.symbol, rules.base.name, newest):
        state.remember(c)
    if int(rows.ts[-1]) > state.last:
        state.last, state.close = int(rows.ts[-1]), float(rows.close[-1])


def absorb(
    rules: Rules, steps: Ladder, last: int, frontier: int, rows: Columns
) -> tuple[list[Columns], list[GapFound], list[GapFilled]]:
    """Takes rows into the ladder: the complete bars per higher timeframe, and the gaps found and filled."""
    split = int(np.searchsorted(rows.ts, last, "right"))
    late: list[list[tuple[int, Bar]]] = [[] for _ in rules.higher]
    filled = _fill(rules, steps, frontier, rows[slice(None, split)], late)
    fresh = rows[slice(split, None)]
    found = _found(rules, last, fresh.ts) if rules.flat else []
    for gap in found:
        ladder.tear(steps, gaps.of(gap))
    if len(fresh) and not last:
        start = int(fresh.ts[0]) - rules.step
        steps.since = min(steps.since, start) if steps.since and not rules.flat else start
    risen = []
    for one, frame, bars in zip(rules.higher, steps.frames, late, strict=True):
        whole = [_columns(bars)] if bars else []
        if len(fresh):
            whole += _rise(rules, steps, one, frame, fresh)
        risen.append(_joined(whole))
    return risen, found, filled


def _found(rules: Rules, last: int, ts: NDArray[np.int64]) -> list[GapFound]:
    before = np.concatenate(([last], ts[:-1])) if last else ts[:-1]
    after = ts if last else ts[1:]
    odd = np.flatnonzero(after - before != rules.step)
    pairs = zip(before[odd].tolist(), after[odd].tolist(), strict=True)
    return [gap for a, b in pairs if (gap := gaps.found(rules, a, b)) is not None]


def _fill(
    rules: Rules, steps: Ladder, frontier: int, rows: Columns, late: list[list[tuple[int, Bar]]]
) -> list[GapFilled]:
    """Rows behind the newest one: they fill holes, one by one, and `late` gets the bars that are complete with them."""
    closed: list[GapFilled] = []
    for c in block.candles(rules.venue, rules.symbol, rules.base.name, rows):
        index = gaps.at(steps.holes, c.ts)
        if index < 0:
            continue
        gap = gaps.fill(rules, steps.holes, index, c.ts)
        closed += [gap] if gap is not None else []
        ladder.add(rules, steps, of_candle(c), c.ts)
        for one, end, bar in list(ladder.filled(rules, steps, c.ts, frontier)):
            place = rules.higher.index(one)
            late[place].append((end, bar))
            ladder.done(steps.frames[place], end)
    return closed


def _rise(rules: Rules, steps: Ladder, one: Grid, frame: Frame, rows: Columns) -> list[Columns]:
    """One timeframe's bars of rows that all lie ahead: the complete ones, the others stay in the frame."""
    ends = rows.ts + (one.origin - rows.ts) % one.length
    starts = np.flatnonzero(np.concatenate(([True], ends[1:] != ends[:-1])))
    closes, through = ends[starts], int(rows.ts[-1])
    passed = []
    if frame.end in frame.bars and frame.end < int(closes[0]) and ladder.complete(rules, steps, one, frame, frame.end):
        passed = [(frame.end, frame.bars[frame.end])]
        ladder.done(frame, frame.end)
    bars = _grouped(rows, starts)
    known = frame.bars.pop(int(closes[0]), None)
    if known is not None:
        bars[0] = known.plus(bars[0])
    whole = _whole(rules, steps, one, closes)
    if rules.due(one, int(closes[-1])) > through:
        whole[-1] = False
    risen = []
    for end, bar, complete in zip(closes.tolist(), bars, whole.tolist(), strict=True):
        if complete and end > frame.lost:
            risen.append((end, bar))
        else:
            ladder.put(rules, one, frame, end, bar)
    end = int(closes[-1])
    if end > frame.end:
        frame.end, frame.due = end, rules.due(one, end)
    if risen:
        frame.sealed = max(frame.sealed, risen[-1][0])
    return [_columns([*passed, *risen])] if passed or risen else []


def _grouped(rows: Columns, starts: NDArray[np.int64]) -> list[Bar]:
    lasts = np.concatenate((starts[1:], [len(rows)])) - 1
    counts = np.add.reduceat(rows.count, starts).tolist() if rows.count is not None else [None] * len(starts)
    columns: Iterable[list[float]] = (
        rows.open[starts].tolist(),
        np.maximum.reduceat(rows.high, starts).tolist(),
        np.minimum.reduceat(rows.low, starts).tolist(),
        rows.close[lasts].tolist(),
    )
    first, last = rows.ts[starts].tolist(), rows.ts[lasts].tolist()
    volumes = totals(rows.volume, starts)
    return [Bar(*values) for values in zip(first, last, *columns, volumes, counts, strict=True)]


def _whole(rules: Rules, steps: Ladder, one: Grid, closes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which bars miss nothing: as `ladder.complete`, for many."""
    opens = closes - one.length
    whole = np.ones(len(closes), bool)
    if steps.holes:
        firsts = np.array([hole.first for hole in steps.holes])
        lasts = np.array([hole.last for hole in steps.holes])
        index = np.searchsorted(lasts, opens, "right")  # the first hole that ends in the bar or after it
        inside = index < len(firsts)
        whole[inside] = firsts[index[inside]] > closes[inside]
    for place in np.flatnonzero(whole & (opens < steps.since)).tolist():
        whole[place] = rules.flat and rules.expected(int(opens[place]), steps.since) == 0
    return whole


def _columns(bars: list[tuple[int, Bar]]) -> Columns:
    ts = np.array([end for end, _ in bars], np.int64)
    o, h, l, c, v = (
        np.array(column, np.float64) for column in zip(*(flow.values(bar)[:5] for _, bar in bars), strict=True)
    )
    counts = [bar.count for _, bar in bars]
    known = None if None in counts else np.array(counts, np.int64)
    return Columns(ts, o, h, l, c, v, known)


def _joined(parts: list[Columns]) -> Columns:
    if not parts:
        nothing = np.array([], np.float64)
        return Columns(np.array([], np.int64), nothing, nothing, nothing, nothing, nothing)
    if len(parts) == 1:
        return parts[0]
    names = ("ts", "open", "high", "low", "close", "volume")
    ts, o, h, l, c, v = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    counts = [part.count for part in parts if part.count is not None]
    return Columns(ts, o, h, l, c, v, np.concatenate(counts) if len(counts) == len(parts) else None)
