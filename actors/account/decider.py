"""The account: hears prices, signals and commands; the only writer of positions and money."""

from __future__ import annotations

from datetime import date
from decimal import DecimalException, localcontext

import msgspec

from actors.decider import Poison
from actors.plan import AccountPlan, BotPlan, SymbolPlan
from actors.symbol import rules as symbol_rules
from actors.symbol import validation
from events import subjects, timeframe
from events.control import (
    AccountOpened,
    BotPaused,
    ReleaseTrading,
    RestrictTrading,
    SessionResumed,
    StopSession,
    Unreadable,
)
from events.decision import Recorded
from events.fact import Fact
from events.market import Candle, Trade
from events.trading import Signal, TradingDayStarted

from .book import NEVER, AccountState, Book, Market, Rules, equity_of, fork
from .commands import on_release, on_restrict, on_stop
from .ledger import EPOCH, apply
from .matching import Matcher, path_of, quiet
from .money import EXACT, exact
from .sheet import Sheet
from .signals import on_signal

_OF_BOTS: frozenset[type[Fact]] = frozenset((Signal, BotPaused, Unreadable))


class Source(msgspec.Struct, frozen=True):
    """What an actor's messages mean here: prices of market `key`, in bars of `base` or, where that is empty, trades.

    `length` of a bar in µs; a trade at t ends at t + 1. `door`: what a trade must be to count, as for the symbol's
    own actor: feeds are raw.
    """

    key: str
    base: str
    length: int
    door: symbol_rules.Rules | None = None

    def counts(self, entry: Recorded, trade: Trade) -> bool:
        return self.door is not None and validation.counts(self.door, entry, trade)


class AccountDecider:
    """One paper account with its bots and their symbols."""

    version = "3"

    def __init__(self, plan: AccountPlan, symbols: tuple[SymbolPlan, ...], bots: tuple[BotPlan, ...]) -> None:
        self.actor = subjects.account(plan.name)
        self.plan = plan
        known = {subjects.market(one.venue, one.symbol): one for one in symbols}
        keys = {one.name: subjects.market(one.venue, one.symbol) for one in bots}
        for bot, key in keys.items():
            if key not in known:
                raise ValueError(f"bot {bot!r} trades {key.removeprefix('market.')}, which is not among the symbols")
        traded = {key: known[key] for key in known if key in keys.values()}
        bots_on = {key: tuple(bot for bot in keys if keys[bot] == key) for key in traded}
        self.rules = Rules(plan, traded, {one.name: one for one in bots}, keys, bots_on)
        self.sources = {_actor_of(one): _source(key, one) for key, one in traded.items()}
        self._bots = {subjects.bot(name): name for name in keys}
        self.inbox = (
            *(f"{actor}.{'>' if source.base else 'trade'}" for actor, source in self.sources.items()),
            *(f"{actor}.>" for actor in self._bots),
            f"{subjects.COMMAND}.>",
        )

    def initial(self) -> AccountState:
        markets = {key: Market() for key in self.rules.symbols}
        books = {bot: Book(bot) for bot in self.rules.bots}
        return AccountState(self.plan.cash, markets=markets, books=books)

    def hears(self, entry: Recorded) -> bool:
        source = self.sources.get(entry.actor)
        facts = entry.decision.facts
        if source is not None:
            base = source.base
            if not base and validation.crowded(entry):
                return False
            for fact in facts:
                kind = type(fact)
                if kind is Candle:
                    if fact.timeframe == base:  # type: ignore[attr-defined]
                        return True
                elif kind is Unreadable:
                    if base:  # garbage on a raw feed is for the quarantine, as it is for the symbol's own actor
                        return True
                elif kind is Trade and source.counts(entry, fact):  # type: ignore[arg-type]
                    return True
            return False
        if entry.actor in self._bots:
            return not _OF_BOTS.isdisjoint(map(type, facts))
        return entry.actor == subjects.COMMAND and any(self._obeys(fact) for fact in facts)

    def observe(self, state: AccountState, entry: Recorded) -> None:
        source = self.sources.get(entry.actor)
        if source is None:
            return self._observe_rest(state, entry)
        market, base = state.markets[source.key], source.base
        before = market.price
        if not base:
            return self._observe_trades(market, source, entry)
        for fact in entry.decision.facts:
            if type(fact) is Candle:
                if fact.timeframe == base:
                    market.price, market.ts = fact.close, fact.ts
            elif type(fact) is Unreadable:
                raise Poison(self.actor, entry.seq, fact.reason)
        market.before = before
        if market.orders:
            _age(market, market.ts - source.length)
        return None

    @staticmethod
    def _observe_trades(market: Market, source: Source, entry: Recorded) -> None:
        """A trade that is late, or comes again, is no price: nobody could trade on it."""
        before, news = market.price, list[Trade]()
        for fact in entry.decision.facts:
            if type(fact) is Trade and source.counts(entry, fact) and _is_next(market, fact):
                market.price, market.ts = fact.price, fact.ts + 1
                news.append(fact)
        market.news = tuple(news)
        if news:
            market.before = before
            if market.orders:
                _age(market, market.ts - source.length)

    def decide(self, state: AccountState, entry: Recorded) -> tuple[Fact, ...]:
        """Raises Poison where numbers are so far out that they cannot be summed exactly."""
        source = self.sources.get(entry.actor)
        if source is not None:
            market = state.markets[source.key]
            if not source.base and not market.news:
                return ()
            if market.ts <= state.day_end and (not market.orders or self._untouched(market, source, entry)):
                return ()
        try:
            with localcontext(EXACT):
                if source is not None:
                    return self._on_prices(state, source, entry)
                if entry.actor in self._bots:
                    return self._on_bot(state, self._bots[entry.actor], entry)
                return self._on_command(state, entry)
        except DecimalException as error:
            raise Poison(self.actor, entry.seq, f"numbers too far out for exact money ({error!r})") from error

    def evolve(self, state: AccountState, fact: Fact) -> None:
        apply(self.rules, state, fact)

    def _obeys(self, fact: Fact) -> bool:
        # An unreadable command is for the quarantine: it must not be a way to stop every account at once.
        if isinstance(fact, StopSession):
            return bool(fact.orders)
        if isinstance(fact, RestrictTrading | ReleaseTrading):
            return fact.account in (self.plan.name, "*")
        return isinstance(fact, SessionResumed)

    def _observe_rest(self, state: AccountState, entry: Recorded) -> None:
        bot = self._bots.get(entry.actor)
        for fact in entry.decision.facts:
            if isinstance(fact, Unreadable):
                raise Poison(self.actor, entry.seq, fact.reason)
            if isinstance(fact, Signal) and bot is not None:
                state.books[bot].wanted = fact
            elif isinstance(fact, StopSession | SessionResumed) and self._obeys(fact):
                state.stopping = isinstance(fact, StopSession)

    def _untouched(self, market: Market, source: Source, entry: Recorded) -> bool:
        """Whether it is one bar that changes no open order: the usual case, and cheap to see."""
        bar: Candle | None = None
        for fact in entry.decision.facts:
            if type(fact) is Candle and fact.timeframe == source.base:
                if bar is not None:
                    return False
                bar = fact
        return bar is not None and quiet(market, bar)

    def _sheet(self, state: AccountState, entry: Recorded, keys: tuple[str, ...], ts: int) -> Sheet:
        return Sheet(self.rules, fork(self.rules, state, keys), self.actor, entry.decision.id, ts)

    def _on_prices(self, state: AccountState, source: Source, entry: Recorded) -> tuple[Fact, ...]:
        sheet = self._sheet(state, entry, (source.key,), entry.decision.ts)
        market = sheet.state.markets[source.key]
        market.price = market.before
        for fact in entry.decision.facts:
            if type(fact) is Candle and fact.timeframe == source.base:
                sheet.ts = fact.ts
                self._begin(sheet, fact.ts)
                if market.orders and fact.low > 0:
                    matcher = Matcher(sheet, source.key, fact.volume, fact.ts - source.length)
                    matcher.walk(path_of(fact))
                market.price = fact.close
        for trade in () if source.base else market.news:
            sheet.ts = trade.ts
            self._begin(sheet, trade.ts + 1)
            Matcher(sheet, source.key, trade.qty, trade.ts).walk(iter((exact(trade.price),)))
            market.price = trade.price
        return tuple(sheet.facts)

    def _begin(self, sheet: Sheet, ts: int) -> None:
        """The account opens with its first price; a day starts with its first one, at the equity of just before.

        A bar that closes at midnight belongs to the day that ends there; a trade at midnight to the one that begins.
        """
        if not sheet.state.opened:
            sheet.emit(AccountOpened(self.plan.name, sheet.ts, self.plan.currency, str(self.plan.cash)))
        if ts > sheet.state.day_end:
            day = date.fromordinal(EPOCH + (ts - 1) // timeframe.DAY).isoformat()
            sheet.emit(TradingDayStarted(self.plan.name, sheet.ts, day, equity_of(self.rules, sheet.state)))

    def _on_bot(self, state: AccountState, bot: str, entry: Recorded) -> tuple[Fact, ...]:
        """Only the last signal of a message counts: it says what the bot wants now."""
        sheet = self._sheet(state, entry, (self.rules.keys[bot],), entry.decision.ts)
        signal, paused = None, False
        for fact in entry.decision.facts:
            if isinstance(fact, Signal):
                signal = fact
            paused = paused or isinstance(fact, BotPaused)
        if signal is not None:
            sheet.ts = signal.ts
            on_signal(sheet, bot, signal, entry.decision.id)
        if paused:
            sheet.cancel_all(bot, "bot-paused", "entry")
        return tuple(sheet.facts)

    def _on_command(self, state: AccountState, entry: Recorded) -> tuple[Fact, ...]:
        sheet = self._sheet(state, entry, tuple(self.rules.symbols), entry.decision.ts)
        # An order acts on prices from its time on: a command with a mad stamp must not put that off.
        newest = max((market.ts for market in state.markets.values()), default=NEVER)
        for fact in entry.decision.facts:
            if not self._obeys(fact):
                continue
            if isinstance(fact, RestrictTrading | ReleaseTrading | StopSession):
                sheet.ts = fact.ts if newest == NEVER else min(fact.ts, newest)
            if isinstance(fact, RestrictTrading):
                on_restrict(sheet, fact)
            elif isinstance(fact, ReleaseTrading):
                on_release(sheet, fact)
            elif isinstance(fact, StopSession):
                on_stop(sheet, fact)
        return tuple(sheet.facts)


def _is_next(market: Market, trade: Trade) -> bool:
    """As `actors.bot.is_next`, for prices; the newest trade ended at `market.ts`."""
    if trade.ts + 1 < market.ts:
        return False
    if trade.ts + 1 > market.ts:
        market.ids = {}
    if trade.id:
        if trade.id in market.ids:
            return False
        if len(market.ids) < symbol_rules.IDS_MAX:
            market.ids[trade.id] = None
    return True


def _age(market: Market, start: int) -> None:
    for order in market.orders.values():
        if order.met:
            order.rested = True
        elif start >= order.ts:
            order.met = True


def _actor_of(symbol: SymbolPlan) -> str:
    named = subjects.feed if symbol.source == "trades" else subjects.market
    return named(symbol.venue, symbol.symbol)


def _source(key: str, symbol: SymbolPlan) -> Source:
    if symbol.source == "trades":
        return Source(key, "", 1, symbol_rules.Rules(symbol, jump=0.0))
    return Source(key, symbol.base, timeframe.micros(symbol.base))
