"""Bars made of trades: the stream is watched, trades are collected, and what is complete is closed."""

from __future__ import annotations

from events.decision import Recorded
from events.fact import Fact
from events.market import Candle, FeedHeartbeat, FeedInterrupted, FeedOpened, GapFound, Trade

from . import flow, validation
from .bars import Bar, of_trade
from .rules import FLAT_MAX, IDS_MAX, TRIM, Rules
from .state import Stream, SymbolState, forget


def observe(rules: Rules, state: SymbolState, entry: Recorded) -> None:
    stream = state.stream
    if stream.notes:
        stream.notes = []
    if validation.crowded(entry):
        return
    latest = rules.latest(entry)
    # Within one message order does not matter: trades are late against what was closed before it.
    closed = max(state.last, rules.base.floor(stream.reached))
    for fact in entry.decision.facts:
        if isinstance(fact, Trade):
            _trade(rules, state, entry, fact, closed, latest)
        elif isinstance(fact, FeedOpened | FeedHeartbeat | FeedInterrupted):
            if fault := validation.stream_fault(rules, fact, latest):
                stream.notes.append(validation.quarantined(entry, *fault, validation.original(fact)))
            elif isinstance(fact, FeedInterrupted):
                stream.broken = min(stream.broken or fact.ts, fact.ts)
                stream.reached = max(stream.reached, fact.ts) if stream.open else stream.reached
                stream.open = False
            elif isinstance(fact, FeedOpened):
                _begin(rules, state, fact.complete_from)
                stream.reached = max(stream.reached, fact.complete_from)
            elif stream.open:
                # A broken stream's heartbeat proves nothing.
                stream.reached = max(stream.reached, fact.ts)


def _trade(rules: Rules, state: SymbolState, entry: Recorded, trade: Trade, closed: int, latest: int) -> None:
    stream = state.stream
    if fault := validation.trade_fault(rules, trade, latest):
        stream.notes.append(validation.quarantined(entry, *fault, validation.original(trade)))
        return
    ts = trade.ts
    if trade.id:
        if trade.id in stream.ids:
            stream.notes.append(flow.flag(rules, ts, "duplicate", f"trade {trade.id} came again"))
            return
        stream.ids[trade.id] = None
        if len(stream.ids) >= IDS_MAX + TRIM:
            forget(stream.ids)
    end = ts - (ts - rules.origin) % rules.step + rules.step
    if end <= closed:
        stream.notes.append(flow.flag(rules, ts, "late", f"the bar is closed: {trade}"))
        return
    if not stream.open:
        # Nobody said since when the stream is complete: surely from after this trade on.
        _begin(rules, state, ts + 1)
    if ts > stream.reached:
        stream.reached = ts
    bar = stream.forming.get(end)
    if bar is None:
        stream.forming[end] = of_trade(trade)
    else:
        bar.take(trade)


def _begin(rules: Rules, state: SymbolState, complete: int) -> None:
    """The stream is complete from a stamp on: bars that overlap what lies between it and the break are torn."""
    stream, base = state.stream, rules.base
    broken = stream.broken or stream.reached or state.last or base.floor(complete)
    if not state.last:
        state.last = state.ladder.since = base.floor(broken)
    if complete > broken:
        tear(stream, max(base.floor(broken), state.last) + rules.step, base.ceil(complete), rules.step)
    stream.open, stream.broken = True, 0


def tear(stream: Stream, first: int, last: int, step: int) -> None:
    if first > last:
        return
    if stream.torn and first <= stream.torn[-1][1] + step:
        before = stream.torn.pop()
        first, last = min(first, before[0]), max(last, before[1])
    stream.torn.append((first, last))


def close(rules: Rules, state: SymbolState) -> list[Fact]:
    """The bars and gaps up to where the stream has come, in order; never a bar whose time is not over."""
    bound = rules.base.floor(state.stream.reached)
    if not state.last or bound <= state.last:
        return []
    walk = _Walk(rules, state)
    for first, last in state.stream.torn:
        if first <= bound:
            walk.quiet(first - rules.step)
            walk.torn(min(last, bound))
    return walk.finish(bound)


class _Walk:
    """Goes over time once, from the last settled bar on."""

    def __init__(self, rules: Rules, state: SymbolState) -> None:
        self._rules, self._forming = rules, state.stream.forming
        self._ends = sorted(self._forming)
        self._at, self._price, self._made = state.last, state.close, 0
        self._out: list[Fact] = []
        self._gap: GapFound | None = None

    def quiet(self, through: int) -> None:
        """A stretch in which the stream was whole."""
        for end in self._ends:
            if self._at < end <= through:
                self._empty(end - self._rules.step)
                self._bar(end, self._forming[end])
        self._empty(through)

    def torn(self, through: int) -> None:
        """A stretch whose bars are incomplete: their trades count for the price alone."""
        for end in self._ends:
            if self._at < end <= through:
                self._price = self._forming[end].close
        self._missing(through)

    def finish(self, bound: int) -> list[Fact]:
        for end in self._ends:
            if self._at < end <= bound:
                self.quiet(end)
        # Before the first trade there is no price for a flat bar: those bars wait for it, and are then a gap.
        if self._price:
            self._empty(bound)
        self._say_gap()
        return self._out

    def _bar(self, end: int, bar: Bar) -> None:
        self._say_gap()
        candle = flow.published(self._rules, self._rules.base, end, bar)
        if flow.jumped(self._rules, self._price, candle):
            self._out.append(flow.jump(self._rules, self._price, candle))
        self._out.append(candle)
        self._at, self._price = end, bar.close

    def _empty(self, through: int) -> None:
        """Bars without trades: flat ones, a gap where there are too many or no price is known, or nothing."""
        rules = self._rules
        if through <= self._at:
            return
        if not rules.flat:
            self._at = through
            return
        count = rules.expected(self._at, through)
        if not self._price or count > FLAT_MAX - self._made:
            self._missing(through)
            return
        if count:
            self._say_gap()
        p = self._price
        for _ in range(count):
            self._at = rules.calendar.next_close(self._at, rules.step, rules.origin)
            self._out.append(Candle(rules.venue, rules.symbol, rules.base.name, self._at, p, p, p, p, 0.0, 0))
        self._made += count
        self._at = through

    def _missing(self, through: int) -> None:
        rules, gap = self._rules, None
        if through > self._at:
            gap = rules.calendar.gap(self._at, through + 1, rules.step, rules.origin)
            self._at = through
        if gap is not None:
            first, missing = (self._gap.first, self._gap.missing) if self._gap else (gap.first, 0)
            name = rules.base.name
            self._gap = GapFound(rules.venue, rules.symbol, name, first, gap.last, missing + gap.count)

    def _say_gap(self) -> None:
        if self._gap is not None:
            self._out.append(self._gap)
            self._gap = None
