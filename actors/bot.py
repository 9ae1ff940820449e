"""The BotActor: hosts a strategy and says which position it wants. It owns no position and sends no order."""

from __future__ import annotations

from math import isfinite

import msgspec

from actors.decider import Poison
from actors.plan import BotPlan, SymbolPlan
from actors.strategies import FLAT, Position, Strategy, Target, create
from actors.symbol import rules as symbol_rules
from actors.symbol import validation
from events import subjects
from events.block import candles, unpack
from events.control import BotPaused, BotResumed, BotStarted, PauseBot, ResumeBot, Unreadable
from events.decision import Recorded
from events.fact import Fact
from events.market import Candle, CandleBlock, Trade
from events.trading import (
    Fill,
    OrderAmended,
    OrderCancelled,
    OrderPlaced,
    OrderRejected,
    OrderTriggered,
    RiskApproved,
    RiskRefused,
    Signal,
)

_ORDINARY = ("superseded", "replaced", "closing", "position-closed", "oco", "bracket-closed")
"""Why orders end in the course of things; every other reason means that something the bot wanted will not be."""
_NO_NEWS: frozenset[type[Fact]] = frozenset((Signal, RiskApproved, OrderPlaced, OrderTriggered, OrderAmended))
"""Most of what accounts say, and nothing to any bot."""
_ORDERS = (PauseBot, ResumeBot)


class BotState(msgspec.Struct):
    """`wanted` is what was signalled last, at `asked`; `wish` is what the strategy answered to the entry at hand.

    `undone`: what was wanted did not come about, so even the same wish is a new one. `learnt`: the newest candle shown.
    `heard`: the time of the newest trade shown; `ids`: of all that were shown of that time.
    """

    strategy: Strategy
    position: Position = FLAT
    wanted: Target | None = None
    wish: Target | None = None
    asked: int = 0
    undone: bool = False
    learnt: int = 0
    heard: int = 0
    ids: dict[str, None] = {}
    price: float = 0.0
    started: bool = False
    paused: bool = False


class BotDecider:
    """From candles to the position a bot wants; and from trades, where `symbol` makes its bars of them and the strategy
    has `on_trade`."""

    logic = 2
    """The version of what is here; `version` is this and the strategy's."""

    def __init__(self, plan: BotPlan, symbol: SymbolPlan | None = None) -> None:
        self.plan = plan
        self.actor = subjects.bot(plan.name)
        self.market = subjects.market(plan.venue, plan.symbol)
        self.account = subjects.account(plan.account)
        self.inbox: tuple[str, ...] = (f"{self.market}.>", f"{self.account}.>", f"{subjects.COMMAND}.>")
        # Created once here, so that a wrong name or parameter is known before anything runs.
        strategy = type(create(plan.strategy, plan.params))
        self._strategy_version = strategy.version
        self.version = f"{self.logic}.{strategy.version}"
        self.feed = subjects.feed(plan.venue, plan.symbol)
        # What a trade must be to count, as for the symbol's own actor: feeds are raw. None: it hears no trades.
        self.door: symbol_rules.Rules | None = None
        if strategy.hears_trades() and symbol is not None and symbol.source == "trades":
            self.door = symbol_rules.Rules(symbol, jump=0.0)
            self.inbox = (*self.inbox, f"{self.feed}.trade")

    def initial(self) -> BotState:
        return BotState(create(self.plan.strategy, self.plan.params))

    def hears(self, entry: Recorded) -> bool:
        facts = entry.decision.facts
        if entry.actor == self.feed and validation.crowded(entry):
            return False
        return not _NO_NEWS.issuperset(map(type, facts)) and any(self._hears(entry, fact) for fact in facts)

    def _hears(self, entry: Recorded, fact: Fact) -> bool:
        actor = entry.actor
        match fact:
            case Candle():
                return actor == self.market and fact.timeframe == self.plan.timeframe
            case Trade():
                door = self.door
                return door is not None and actor == self.feed and validation.counts(door, entry, fact)
            case CandleBlock():
                return actor == self.market and fact.timeframe == self.plan.timeframe
            case Fill() | RiskRefused() | OrderRejected():
                return fact.bot == self.plan.name
            case OrderCancelled():
                return fact.bot == self.plan.name and fact.reason not in _ORDINARY
            case PauseBot() | ResumeBot():
                return fact.bot in ("*", self.plan.name)
            case Unreadable():
                # An unreadable command is for the quarantine: it must not be a way to stop every bot at once. So is
                # garbage on a raw feed.
                return actor not in (subjects.COMMAND, self.feed)
            case _:
                return False

    def observe(self, state: BotState, entry: Recorded) -> None:
        state.wish = None
        for fact in entry.decision.facts:
            if not self._hears(entry, fact):
                continue
            match fact:
                case Candle():
                    # Of several candles in one message only the newest can still be acted on; all are learnt from.
                    state.price, state.learnt = fact.close, max(state.learnt, fact.ts)
                    state.wish = state.strategy.on_candle(fact, state.position) or state.wish
                case Trade():
                    if is_next(state, fact):
                        state.price = fact.price
                        state.wish = state.strategy.on_trade(fact, state.position) or state.wish
                case Fill():
                    self._filled(state, fact)
                case CandleBlock():
                    self._warm_up(state, fact)
                case RiskRefused():
                    state.undone = state.undone or fact.ts == state.asked  # one of an earlier wish is no news
                case OrderCancelled() | OrderRejected():
                    state.undone = state.undone or not _stands(state)
                case Unreadable():
                    raise Poison(self.actor, entry.seq, f"unreadable message on {fact.subject}: {fact.reason}")
                case _:
                    pass

    @staticmethod
    def _warm_up(state: BotState, block: CandleBlock) -> None:
        """What the strategy wants of the past is not asked. Rows that fill a hole behind it come too late for it."""
        for candle in candles(block.venue, block.symbol, block.timeframe, unpack(block)):
            if candle.ts > state.learnt:
                state.learnt = candle.ts
                state.strategy.on_candle(candle, FLAT)

    @staticmethod
    def _filled(state: BotState, fill: Fill) -> None:
        state.position = Position(fill.position, fill.average) if fill.position else FLAT
        if not fill.position and fill.role not in ("entry", "exit"):
            state.wanted = None  # a bracket closed it: the same wish is a new one from here on
        elif not fill.position and state.wanted is not None:
            # The kill switch closes as an exit: nobody asked to leave the side that is still wanted.
            state.undone = state.undone or state.wanted.target * (1 if fill.side == "sell" else -1) > 0

    def decide(self, state: BotState, entry: Recorded) -> tuple[Fact, ...]:
        facts: list[Fact] = []
        ts = entry.decision.ts
        for fact in entry.decision.facts:
            if state.started and type(fact) not in _ORDERS:
                continue
            match fact:
                case Candle() | Trade() if not state.started and not facts and self._hears(entry, fact):
                    facts.append(self._started(ts))
                case PauseBot() if not state.paused and self._hears(entry, fact):
                    facts.append(BotPaused(self.plan.name, ts, fact.reason))
                case ResumeBot() if state.paused and self._hears(entry, fact):
                    facts.append(BotResumed(self.plan.name, ts, fact.reason))
                case _:
                    pass
        if is_news(state, state.wish):
            assert state.wish is not None
            facts.append(self._signal(state.wish, state.price, ts, entry.seq))
        return tuple(facts)

    def _started(self, ts: int) -> BotStarted:
        plan, version = self.plan, self._strategy_version
        return BotStarted(
            plan.name, plan.account, plan.venue, plan.symbol, plan.timeframe, ts, plan.strategy, version, plan.params
        )

    def _signal(self, wish: Target, price: float, ts: int, seq: int) -> Signal:
        target, confidence = float(wish.target), float(wish.confidence)
        stop, take_profit, trail = _plain(wish.stop), _plain(wish.take_profit), _plain(wish.trail)
        limit, trigger = _plain(wish.limit), _plain(wish.trigger)
        if not _finite(confidence, stop, take_profit, trail, limit, trigger) or not -1 <= target <= 1:
            raise Poison(self.actor, seq, f"strategy {self.plan.strategy} answered {wish}, which is no position")
        plan, reasons = self.plan, tuple(str(reason) for reason in wish.reasons)
        # Plain floats and a tuple, whatever the strategy computes with: what is read back must be what was decided.
        return Signal(
            plan.name, plan.venue, plan.symbol, ts, target, price, wish.order,
            limit, trigger, stop, take_profit, trail, confidence, reasons,
        )  # fmt: skip

    def evolve(self, state: BotState, fact: Fact) -> None:
        match fact:
            case Signal():
                state.wanted = Target(
                    fact.target, fact.stop, fact.take_profit, fact.trail, fact.order, fact.limit, fact.trigger,
                    fact.confidence, fact.reasons,
                )  # fmt: skip
                state.asked, state.undone = fact.ts, False
            case BotStarted():
                state.started = fact.version == self._strategy_version
            case BotPaused():
                state.paused = True
            case BotResumed():
                state.paused = False
            case _:
                pass


def _plain(level: float | None) -> float | None:
    return None if level is None else float(level)


def _finite(*numbers: float | None) -> bool:
    return all(map(isfinite, filter(None, numbers)))


def is_news(state: BotState, wish: Target | None) -> bool:
    """Whether a wish makes the bot signal."""
    return wish is not None and not state.paused and (state.undone or not same(wish, state.wanted))


def is_next(state: BotState, trade: Trade) -> bool:
    """Whether a trade is to be shown, and takes note of it: one that is late, or comes again, is not."""
    if trade.ts < state.heard:
        return False
    if trade.ts > state.heard:
        state.heard, state.ids = trade.ts, {}
    if trade.id:
        if trade.id in state.ids:
            return False
        if len(state.ids) < symbol_rules.IDS_MAX:
            state.ids[trade.id] = None
    return True


def _stands(state: BotState) -> bool:
    """Whether the position is on the side that was wanted last."""
    return state.wanted is None or float(state.position.qty) * state.wanted.target > 0


def same(wish: Target, wanted: Target | None) -> bool:
    """Whether a wish asks for nothing new: the same target entered the same way. Levels of a held position stay."""
    if wanted is None:
        return wish.target == 0
    return (wish.target, wish.order, wish.limit, wish.trigger) == (
        wanted.target, wanted.order, wanted.limit, wanted.trigger
    )  # fmt: skip
