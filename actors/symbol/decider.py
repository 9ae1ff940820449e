"""The decider of one symbol: one decision per feed message."""

from __future__ import annotations

from actors.plan import SymbolPlan
from events import subjects
from events.control import FeedClaimed, Quarantined, QuarantineRetried, Unreadable
from events.decision import Recorded
from events.fact import Fact, tag
from events.market import (
    Book,
    Candle,
    CandleBackfilled,
    CandleBlock,
    CandleRevised,
    FeedHeartbeat,
    FeedInterrupted,
    FeedOpened,
    GapFound,
    Quote,
    Trade,
)

from . import candles, flow, history, ladder, trades, validation
from .rules import Rules
from .state import SymbolState, empty

_STREAM = (FeedOpened, FeedHeartbeat, FeedInterrupted)


class SymbolDecider:
    """From raw feed facts to validated market facts.

    `jump`: a close further than this fraction from the last one is flagged. Raises ValueError on a plan whose
    timeframes are no multiples of its base, or with an unknown source, convention or calendar.
    """

    version = "2"

    def __init__(self, plan: SymbolPlan, jump: float = 0.5) -> None:
        self.plan = plan
        self.actor = subjects.market(plan.venue, plan.symbol)
        self.inbox: tuple[str, ...] = (f"{subjects.feed(plan.venue, plan.symbol)}.>",)
        self.rules = rules = Rules(plan, jump)
        silent = (Quote, Book, FeedClaimed)
        self._unheard = frozenset(silent if rules.trades else (*silent, Trade))
        # The common case, a bar in order with nothing to build from it, is worth a way of its own.
        self._plain, self._step, self._jump = not rules.trades and not rules.higher, rules.step, jump

    def initial(self) -> SymbolState:
        return empty(len(self.rules.higher))

    def hears(self, entry: Recorded) -> bool:
        return any(type(fact) not in self._unheard for fact in entry.decision.facts)

    def observe(self, state: SymbolState, entry: Recorded) -> None:
        if self.rules.trades:
            trades.observe(self.rules, state, entry)
        elif not self.rules.flat:
            self._watch(state, entry)

    def _watch(self, state: SymbolState, entry: Recorded) -> None:
        """Where a missing bar says nothing, the stream's own word tells what is missing and what is over."""
        rules, stream = self.rules, state.stream
        if validation.crowded(entry):
            return
        latest = rules.latest(entry)
        for fact in entry.decision.facts:
            if isinstance(fact, Candle):
                if stream.broken and not validation.candle_fault(rules, fact, latest):
                    self._mend(state, fact.ts - rules.step)
            elif isinstance(fact, _STREAM) and validation.stream_fault(rules, fact, latest) is None:
                if isinstance(fact, FeedInterrupted):
                    stream.broken = min(stream.broken or fact.ts, fact.ts)
                elif isinstance(fact, FeedHeartbeat):
                    if not stream.broken:
                        stream.reached = max(stream.reached, fact.ts)
                elif stream.broken:
                    self._mend(state, fact.complete_from)
                elif not state.last:
                    state.ladder.since = fact.complete_from

    def _mend(self, state: SymbolState, complete: int) -> None:
        """The venue's bars are whole: torn are those that closed while nobody listened."""
        rules, stream = self.rules, state.stream
        first = max(rules.base.floor(stream.broken), state.last) + rules.step
        stream.broken = 0
        if state.last:
            trades.tear(stream, first, rules.base.floor(complete), rules.step)

    def decide(self, state: SymbolState, entry: Recorded) -> tuple[Fact, ...]:
        facts = entry.decision.facts
        if len(facts) == 1:
            fact = facts[0]
            if type(fact) is Candle and validation.candle_fault(self.rules, fact, self.rules.latest(entry)) is None:
                near = abs(fact.close - state.close) <= self._jump * state.close
                if near and self._plain and fact.ts == state.last + self._step:
                    return facts
                return candles.answer(self.rules, state, fact)
        if much := validation.crowded(entry):
            return (validation.quarantined(entry, "too-large", much, validation.original(*facts)),)
        if len(facts) == 1:
            return self._answer(state, entry, facts[0])
        ahead, told = state.fork(), False
        out: list[Fact] = []
        for fact in facts:
            if isinstance(fact, Trade | FeedOpened | FeedHeartbeat | FeedInterrupted) and self.rules.trades:
                if told:
                    continue
                told = True  # all of them were observed as one
            said = self._answer(ahead, entry, fact)
            for one in said:
                self.evolve(ahead, one)
            out += said
        return tuple(out)

    def _answer(self, state: SymbolState, entry: Recorded, fact: Fact) -> tuple[Fact, ...]:
        rules = self.rules
        if isinstance(fact, Candle):
            if fault := validation.candle_fault(rules, fact, rules.latest(entry)):
                return (validation.quarantined(entry, *fault, validation.original(fact)),)
            return candles.answer(rules, state, fact)
        if isinstance(fact, Trade | FeedOpened | FeedHeartbeat | FeedInterrupted):
            return self._streamed(state, entry, fact)
        if isinstance(fact, CandleBlock):
            return history.answer(rules, state, entry, fact)
        if isinstance(fact, Quote | Book | FeedClaimed | QuarantineRetried):
            return ()
        if isinstance(fact, Unreadable):
            return (validation.quarantined(entry, "unreadable", fact.reason, fact.raw),)
        raw = validation.original(fact)
        return (validation.quarantined(entry, "unexpected", f"{tag(fact)} is not what a feed says", raw),)

    def _streamed(
        self, state: SymbolState, entry: Recorded, fact: Trade | FeedOpened | FeedHeartbeat | FeedInterrupted
    ) -> tuple[Fact, ...]:
        rules, stream = self.rules, state.stream
        if rules.trades:
            base = trades.close(rules, state)
            if not base and not stream.notes and not rules.higher:
                return ()
            found = candles.overflow(rules, state, sum(isinstance(one, GapFound) for one in base))
            return (*stream.notes, *found, *flow.climb(rules, state, base, rules.base.floor(stream.reached)))
        if isinstance(fact, Trade):
            return ()
        if fault := validation.stream_fault(rules, fact, rules.latest(entry)):
            return (validation.quarantined(entry, *fault, validation.original(fact)),)
        if rules.flat:
            return ()
        torn = candles.torn(rules, state, rules.high)
        return tuple(flow.climb(rules, state, torn, max(state.last, stream.reached)))

    def evolve(self, state: SymbolState, fact: Fact) -> None:
        kind = type(fact)
        if kind is Quarantined:
            return
        if kind is Candle:
            self._evolve_candle(state, fact)  # type: ignore[arg-type]
        elif isinstance(fact, GapFound):
            self._evolve_gap(state, fact)
        elif isinstance(fact, CandleBackfilled | CandleRevised | CandleBlock):
            self._evolve_history(state, fact)

    def _evolve_candle(self, state: SymbolState, c: Candle) -> None:
        rules = self.rules
        if c.timeframe != rules.base.name:
            ladder.done(self._frame(state, c.timeframe), c.ts)
            return
        if rules.higher or not state.last:
            flow.settle(rules, state.last, state.ladder, c)
        state.last, state.close = c.ts, c.close
        state.remember(c)
        stream = state.stream
        if stream.forming:
            stream.forming.pop(c.ts, None)
        if stream.torn:
            self._settle_torn(state)

    def _evolve_gap(self, state: SymbolState, gap: GapFound) -> None:
        if gap.last <= state.last:
            return  # found in a block, which has told already
        flow.settle(self.rules, state.last, state.ladder, gap)
        state.last = gap.last
        forming = state.stream.forming
        for end in sorted(end for end in forming if end <= gap.last):
            state.close = forming.pop(end).close
        self._settle_torn(state)

    def _evolve_history(self, state: SymbolState, fact: CandleBackfilled | CandleRevised | CandleBlock) -> None:
        rules = self.rules
        if fact.timeframe != rules.base.name:
            if isinstance(fact, CandleBackfilled):
                ladder.done(self._frame(state, fact.timeframe), fact.ts)
        elif isinstance(fact, CandleBlock):
            history.evolve(rules, state, fact)
        elif isinstance(fact, CandleRevised):
            candles.revise(rules, state, fact)
        else:
            candles.backfill(rules, state, fact)

    @staticmethod
    def _settle_torn(state: SymbolState) -> None:
        state.stream.torn = [run for run in state.stream.torn if run[1] > state.last]

    def _frame(self, state: SymbolState, name: str) -> ladder.Frame:
        names = [one.name for one in self.rules.higher]
        return state.ladder.frames[names.index(name)]
