"""Bars as the venue sends them: in order, late, again, or corrected."""

from __future__ import annotations

from events.fact import Fact
from events.market import Candle

from . import flow, gaps, ladder
from .bars import AnyCandle, Bar, of_candle
from .rules import HOLES_MAX, Grid, Rules
from .state import SymbolState


def answer(rules: Rules, state: SymbolState, c: Candle) -> tuple[Fact, ...]:
    """A valid bar of the base timeframe."""
    ts, last = c.ts, state.last
    if ts <= last or (rules.gappy and ts <= state.ladder.sealed):
        return _late(rules, state, c)
    if rules.trades:
        return (flow.flag(rules, ts, "early", "a bar from outside, where bars are made of trades"),)
    before: list[Fact] = []
    if last and ts != last + rules.step:
        before = _irregular(rules, state, c)
    if flow.jumped(rules, state.close, c):
        before.append(flow.jump(rules, state.close, c))
    if rules.higher:
        return tuple(flow.climb(rules, state, (*before, c), max(ts, state.stream.reached)))
    return (*before, c) if before else (c,)


def _irregular(rules: Rules, state: SymbolState, c: Candle) -> list[Fact]:
    facts: list[Fact] = []
    if rules.flat:
        gap = gaps.found(rules, state.last, c.ts)
        facts = [*overflow(rules, state, 1), gap] if gap is not None else []
    else:
        facts += torn(rules, state, c.ts)
    if not rules.calendar.expects(c.ts, rules.step, rules.origin):
        facts.append(flow.flag(rules, c.ts, "closed", f"a bar where {rules.calendar.name} says closed"))
    return facts


def torn(rules: Rules, state: SymbolState, before: int) -> list[Fact]:
    """The bars that a hole in the stream swallowed, where a missing bar alone says nothing."""
    found: list[Fact] = []
    for first, last in state.stream.torn:
        gap = gaps.found(rules, max(first - rules.step, state.last), min(last + 1, before))
        if gap is not None:
            found.append(gap)
    return [*overflow(rules, state, len(found)), *found]


def overflow(rules: Rules, state: SymbolState, more: int) -> list[Fact]:
    """Says which gaps are given up, so that what is remembered stays bounded."""
    holes = state.ladder.holes
    given_up = holes[: max(0, len(holes) + more - HOLES_MAX)]
    return [
        flow.flag(rules, hole.last, "gap-abandoned", f"{hole.missing} bars from {hole.first} will not be waited for")
        for hole in given_up
    ]


def _late(rules: Rules, state: SymbolState, c: Candle) -> tuple[Fact, ...]:
    known = state.recent.get(c.ts)
    if known is not None:
        if same(known, c):
            return (flow.flag(rules, c.ts, "duplicate", f"the {c.timeframe} bar came again"),)
        return _revise(rules, state, known, c)
    index = gaps.fills(rules, state.ladder.holes, c.ts)
    if index < 0:
        return (flow.flag(rules, c.ts, "late", f"a {c.timeframe} bar that is neither missing nor remembered: {c}"),)
    steps = state.ladder.fork()
    closed = gaps.fill(rules, steps.holes, index, c.ts)
    ladder.add(rules, steps, of_candle(c), c.ts)
    out: list[Fact] = [flow.backfilled(c)]
    for one, end, bar in ladder.filled(rules, steps, c.ts, frontier(rules, state)):
        out.append(flow.backfilled(flow.published(rules, one, end, bar)))
    return (*out, closed) if closed is not None else tuple(out)


def frontier(rules: Rules, state: SymbolState) -> int:
    """How far bars are settled, with or without trades in them."""
    return state.last if rules.flat else max(state.last, rules.base.floor(state.stream.reached))


def same(a: AnyCandle, b: AnyCandle) -> bool:
    """A count that one side does not know makes no difference."""
    counts = a.count == b.count or a.count is None or b.count is None
    return counts and (a.open, a.high, a.low, a.close, a.volume) == (b.open, b.high, b.low, b.close, b.volume)


def _revise(rules: Rules, state: SymbolState, known: AnyCandle, c: Candle) -> tuple[Fact, ...]:
    out: list[Fact] = [flow.revised(c)]
    for one, frame in zip(rules.higher, state.ladder.frames, strict=True):
        end = one.ceil(c.ts)
        standing = end not in frame.bars and end <= frame.sealed
        if end - one.length < state.evicted:
            out.append(flow.flag(rules, end, "unrevised", f"the {one.name} bar still holds the old {c.timeframe} bar"))
        elif standing:
            old, new = _rebuilt(rules, state, one, end, known), _rebuilt(rules, state, one, end, c)
            if flow.values(old) != flow.values(new):
                out.append(flow.revised(flow.published(rules, one, end, new)))
    return tuple(out)


def revise(rules: Rules, state: SymbolState, c: AnyCandle) -> None:
    """Takes in a revised base bar: the bars in the making around it are made again."""
    for one, frame in zip(rules.higher, state.ladder.frames, strict=True):
        end = one.ceil(c.ts)
        if end in frame.bars and end - one.length >= state.evicted:
            frame.bars[end] = _rebuilt(rules, state, one, end, c)
    state.recent[c.ts] = c
    if c.ts == state.last:
        state.close = c.close


def _rebuilt(rules: Rules, state: SymbolState, one: Grid, end: int, instead: AnyCandle) -> Bar:
    """A higher bar made anew of the remembered base bars, one of them replaced."""
    whole: Bar | None = None
    for ts in range(end - one.length + rules.step, end + 1, rules.step):
        part = instead if ts == instead.ts else state.recent.get(ts)
        if part is not None:
            whole = of_candle(part) if whole is None else whole.plus(of_candle(part))
    assert whole is not None, "the replaced bar itself is in it"
    return whole


def backfill(rules: Rules, state: SymbolState, c: AnyCandle) -> None:
    """Takes in a base bar that fills a hole."""
    index = gaps.at(state.ladder.holes, c.ts)
    if index >= 0:
        gaps.fill(rules, state.ladder.holes, index, c.ts)
        if rules.higher:
            ladder.add(rules, state.ladder, of_candle(c), c.ts)
    state.remember(c)
