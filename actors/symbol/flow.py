"""What follows from base bars in order: the higher bars that they complete, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable

from events.codec import legible
from events.fact import Fact
from events.market import Candle, CandleBackfilled, CandleRevised, DataFlagged, GapFound

from . import gaps, ladder
from .bars import AnyCandle, Bar, of_candle
from .ladder import Ladder
from .rules import Grid, Rules
from .state import SymbolState


def published(rules: Rules, one: Grid, end: int, bar: Bar) -> Candle:
    return Candle(rules.venue, rules.symbol, one.name, end, *values(bar))


def values(bar: Bar) -> tuple[float, float, float, float, float, int | None]:
    return bar.open, bar.high, bar.low, bar.close, float(bar.volume), bar.count


def backfilled(c: Candle) -> CandleBackfilled:
    return CandleBackfilled(c.venue, c.symbol, c.timeframe, c.ts, c.open, c.high, c.low, c.close, c.volume, c.count)


def revised(c: AnyCandle) -> CandleRevised:
    return CandleRevised(c.venue, c.symbol, c.timeframe, c.ts, c.open, c.high, c.low, c.close, c.volume, c.count)


def flag(rules: Rules, ts: int, issue: str, detail: str) -> DataFlagged:
    return DataFlagged(rules.venue, rules.symbol, ts, issue, legible(detail))


def jumped(rules: Rules, before: float, c: Candle) -> bool:
    """Whether a close is implausibly far from the one before it. Such a bar is kept: it may be true."""
    return before > 0.0 and abs(c.close - before) > rules.jump * before


def jump(rules: Rules, before: float, c: Candle) -> DataFlagged:
    return flag(rules, c.ts, "jump", f"close {c.close} after {before}")


def settle(rules: Rules, state_last: int, steps: Ladder, fact: Candle | GapFound) -> None:
    """Takes one base fact into the ladder; `state_last` as before the fact."""
    if isinstance(fact, GapFound):
        ladder.tear(steps, gaps.of(fact))
        return
    if not state_last:
        start = fact.ts - rules.step
        # A stream that says it is complete from earlier on vouches for the minutes without bars before the first.
        steps.since = min(steps.since, start) if steps.since and not rules.flat else start
    if rules.higher:
        ladder.add(rules, steps, of_candle(fact), fact.ts)


def climb(rules: Rules, state: SymbolState, base: Iterable[Fact], through: int) -> list[Fact]:
    """Base facts in order, each followed by the higher bars that are complete with it.

    `through`: where bars without trades are left out, the stream has come this far, bar or no bar.
    """
    base = list(base)
    if not rules.higher:
        return base
    if not base:
        return [] if rules.flat else [published(rules, *found) for found in ladder.ripe(rules, state.ladder, through)]
    if len(base) == 1 and state.last and isinstance(base[0], Candle):
        return _step(rules, state.ladder, base[0], through)
    steps, last = state.ladder.fork(), state.last
    out: list[Fact] = []
    for fact in base:
        if isinstance(fact, Candle):
            if not rules.flat:
                out += _risen(rules, steps, fact.ts - 1)
            settle(rules, last, steps, fact)
            last = fact.ts
            out.append(fact)
            out += _risen(rules, steps, fact.ts)
            continue
        if isinstance(fact, GapFound):
            settle(rules, last, steps, fact)
            last = max(last, fact.last)
        out.append(fact)
    if not rules.flat:
        out += _risen(rules, steps, through)
    return out


def _risen(rules: Rules, steps: Ladder, through: int) -> list[Fact]:
    found: list[Fact] = []
    for one, end, bar in list(ladder.ripe(rules, steps, through)):
        found.append(published(rules, one, end, bar))
        ladder.done(steps.frames[rules.higher.index(one)], end)
    return found


def _step(rules: Rules, steps: Ladder, c: Candle, through: int) -> list[Fact]:
    """As `climb` for one bar, the common case, without copying the ladder."""
    ts, part = c.ts, None
    passed: list[Fact] = []
    out: list[Fact] = [c]
    reach = ts if rules.flat else max(ts, through)
    for one, frame in zip(rules.higher, steps.frames, strict=True):
        end = ts + (one.origin - ts) % one.length
        if end != frame.end:
            over = not rules.flat and frame.due < ts and frame.end > frame.sealed
            if over and ladder.complete(rules, steps, one, frame, frame.end):
                passed.append(published(rules, one, frame.end, frame.bars[frame.end]))
            due = rules.due(one, end)
        else:
            due = frame.due
        if due <= reach and end > frame.sealed and ladder.unbroken(rules, steps, one, frame, end):
            part = part or of_candle(c)
            known = frame.bars.get(end)
            out.append(published(rules, one, end, part if known is None else known.plus(part)))
    return passed + out if passed else out
