"""What a tape says, folded for a person to look at: bots, positions, money, gaps, halts, and how much there is."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from events import control, market, trading
from events.decision import Recorded
from events.fact import Fact, kind

Key = tuple[str, str]
"""Venue and symbol."""

ZERO = Decimal(0)
_MARKET_TIME = ("feed.", "market.", "bot.", "account.")


@dataclass
class Position:
    """What a bot holds, and what it has earned: `realized` before `fees`."""

    bot: str
    account: str
    key: Key
    qty: Decimal = ZERO
    average: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    trades: int = 0
    wins: int = 0
    running: Decimal = ZERO


@dataclass
class Bot:
    name: str
    key: Key
    strategy: str
    timeframe: str
    paused: bool = False
    signal: trading.Signal | None = None
    signals: int = 0


@dataclass
class Account:
    name: str
    currency: str = ""
    start: Decimal = ZERO
    cash: Decimal = ZERO
    restricted: str = ""


@dataclass
class Overview:
    """Show it every entry in tape order with `add`; read the rest."""

    at: int = 0
    ts: int = 0
    first_known: int = 0
    last_known: int = 0
    messages: int = 0
    decisions: int = 0
    facts: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    epochs: dict[str, int] = field(default_factory=dict)
    last_of: dict[str, int] = field(default_factory=dict)
    prices: dict[Key, tuple[int, float]] = field(default_factory=dict)
    bots: dict[str, Bot] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    orders: dict[str, trading.OrderPlaced] = field(default_factory=dict)
    fills: deque[trading.Fill] = field(default_factory=lambda: deque(maxlen=8))
    gaps: dict[tuple[str, str, str, int], market.GapFound] = field(default_factory=dict)
    gaps_filled: int = 0
    gaps_found: int = 0
    missing: int = 0
    halts: list[control.ActorHalted] = field(default_factory=list)
    sessions: int = 0

    def add(self, entry: Recorded) -> None:
        decision = entry.decision
        self.at, self.last_known = entry.seq, entry.known_at
        self.first_known = self.first_known or entry.known_at
        self.messages += 1
        self.decisions += bool(decision.by)
        self.facts += len(decision.facts)
        self.last_of[entry.actor] = entry.seq
        if entry.actor.startswith(_MARKET_TIME):  # the others are stamped by the clock
            self.ts = max(self.ts, decision.ts)
        for fact in decision.facts:
            self.kinds[kind(fact)] += 1
            fold = _FOLDS.get(type(fact))
            if fold is not None:
                fold(self, entry.actor, fact)

    def price(self, key: Key) -> float | None:
        found = self.prices.get(key)
        return None if found is None else found[1]

    def unrealized(self, position: Position) -> Decimal:
        price = self.price(position.key)
        return ZERO if price is None or not position.qty else position.qty * (Decimal(repr(price)) - position.average)

    def open_positions(self) -> list[Position]:
        return [one for one in self.positions.values() if one.qty]

    def equity(self, account: str) -> Decimal:
        """Cash and positions at last prices."""
        own = [one for one in self.open_positions() if one.account == account]
        marks = ((one, self.price(one.key)) for one in own)
        worth = (one.qty * (one.average if mark is None else Decimal(repr(mark))) for one, mark in marks)
        return self.accounts[account].cash + sum(worth, ZERO)

    def pnl(self) -> Decimal:
        """What all accounts have made, open positions at last prices, after fees; exact, for it is all in cash."""
        return sum((self.equity(name) - one.start for name, one in self.accounts.items()), ZERO)

    def trades(self) -> int:
        """Round trips: a position that went back to flat, or turned round."""
        return sum(one.trades for one in self.positions.values())

    def totals(self) -> dict[str, Any]:
        """What is counted, by name, for summaries."""
        count = self.kinds
        return {
            "messages": self.messages,
            "facts": self.facts,
            "decisions": self.decisions,
            "signals": count["signal"],
            "refused": count["risk-refused"],
            "orders": count["order-placed"],
            "fills": count["fill"],
            "trades": self.trades(),
            "gaps_found": self.gaps_found,
            "gaps_filled": self.gaps_filled,
            "missing": self.missing,
            "quarantined": count["quarantined"],
            "halts": len(self.halts),
        }

    def _on_price(self, actor: str, fact: market.Candle | market.Trade) -> None:
        """Validated prices only, so that every view shows the same equity, whether it reads the feeds or not."""
        if not actor.startswith("market."):
            return
        key = (fact.venue, fact.symbol)
        value = fact.close if isinstance(fact, market.Candle) else fact.price
        if fact.ts >= self.prices.get(key, (0, 0.0))[0]:
            self.prices[key] = (fact.ts, value)

    def _on_signal(self, actor: str, fact: trading.Signal) -> None:
        bot = self.bots.get(fact.bot)
        if bot is not None:
            bot.signal = fact
            bot.signals += 1

    def _on_started(self, actor: str, fact: control.BotStarted) -> None:
        self.bots[fact.bot] = Bot(fact.bot, (fact.venue, fact.symbol), fact.strategy, fact.timeframe)

    def _on_paused(self, actor: str, fact: control.BotPaused | control.BotResumed) -> None:
        if fact.bot in self.bots:
            self.bots[fact.bot].paused = isinstance(fact, control.BotPaused)

    def _account(self, name: str) -> Account:
        return self.accounts.setdefault(name, Account(name))

    def _on_opened(self, actor: str, fact: control.AccountOpened) -> None:
        account = self._account(fact.account)
        account.currency, account.start, account.cash = fact.currency, Decimal(fact.cash), Decimal(fact.cash)

    def _on_restricted(self, actor: str, fact: control.TradingRestricted) -> None:
        self._account(fact.account).restricted = fact.level

    def _on_released(self, actor: str, fact: control.TradingReleased) -> None:
        self._account(fact.account).restricted = ""

    def _on_placed(self, actor: str, fact: trading.OrderPlaced) -> None:
        self.orders[fact.order] = fact

    def _on_ended(self, actor: str, fact: trading.OrderCancelled | trading.OrderRejected) -> None:
        self.orders.pop(fact.order, None)

    def _on_fill(self, actor: str, fact: trading.Fill) -> None:
        self.fills.append(fact)
        if not fact.leaves:
            self.orders.pop(fact.order, None)
        self._account(fact.account).cash = fact.cash
        held = self.positions.get(fact.bot)
        if held is None:
            held = self.positions[fact.bot] = Position(fact.bot, fact.account, (fact.venue, fact.symbol))
        before = held.qty
        held.qty, held.average = fact.position, fact.average
        held.realized += fact.realized
        held.running += fact.realized
        held.fees += fact.fee
        if before and (not held.qty or (before > 0) != (held.qty > 0)):
            held.trades += 1
            held.wins += held.running > 0
            held.running = ZERO

    def _on_gap(self, actor: str, fact: market.GapFound) -> None:
        self.gaps[fact.venue, fact.symbol, fact.timeframe, fact.first] = fact
        self.gaps_found += 1
        self.missing += fact.missing

    def _on_gap_filled(self, actor: str, fact: market.GapFilled) -> None:
        self.gaps.pop((fact.venue, fact.symbol, fact.timeframe, fact.first), None)
        self.gaps_filled += 1

    def _on_halted(self, actor: str, fact: control.ActorHalted) -> None:
        self.halts.append(fact)

    def _on_claimed(self, actor: str, fact: control.ActorClaimed) -> None:
        self.epochs[fact.actor] = fact.epoch

    def _on_session(self, actor: str, fact: control.SessionStarted) -> None:
        self.sessions += 1


_FOLDS: dict[type[Fact], Callable[[Overview, str, Any], None]] = {
    market.Candle: Overview._on_price,
    market.Trade: Overview._on_price,
    market.GapFound: Overview._on_gap,
    market.GapFilled: Overview._on_gap_filled,
    trading.Signal: Overview._on_signal,
    trading.OrderPlaced: Overview._on_placed,
    trading.OrderCancelled: Overview._on_ended,
    trading.OrderRejected: Overview._on_ended,
    trading.Fill: Overview._on_fill,
    control.BotStarted: Overview._on_started,
    control.BotPaused: Overview._on_paused,
    control.BotResumed: Overview._on_paused,
    control.AccountOpened: Overview._on_opened,
    control.TradingRestricted: Overview._on_restricted,
    control.TradingReleased: Overview._on_released,
    control.ActorHalted: Overview._on_halted,
    control.ActorClaimed: Overview._on_claimed,
    control.SessionStarted: Overview._on_session,
}
