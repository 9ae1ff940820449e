"""A minimal host for one account: tells it facts, keeps what it decides, and checks that deciding is pure."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any, TypeVar

from actors.account import AccountDecider, AccountState
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Limits, Sizing, SymbolPlan
from events import subjects, timeframe
from events.control import ReleaseTrading, RestrictTrading
from events.decision import Recorded
from events.fact import Fact
from events.feed import observed
from events.market import Candle, Trade
from events.trading import Fill, OrderCancelled, OrderPlaced, RiskRefused, Signal

VENUE, SYMBOL = "sim", "BTC-USDT"
MINUTE = timeframe.MINUTE
START = 20_000 * timeframe.DAY
FREE = Fees(maker=Decimal(0), taker=Decimal(0))
IDEAL = FillModel(slippage=Decimal(0), participation=None)
TENTH = FillModel(slippage=Decimal(0), participation=Decimal("0.1"))
F = TypeVar("F", bound=Fact)

Turn = tuple[Recorded, tuple[Fact, ...]]


class Account:
    """`audit`: every decision is made twice, on a state that must not change by it."""

    def __init__(self, decider: AccountDecider, *, audit: bool = True) -> None:
        self.decider, self.audit = decider, audit
        self.state: AccountState = decider.initial()
        self.turns: list[Turn] = []
        self.seq = 0

    def tell(self, actor: str, ts: int, *facts: Fact) -> tuple[Fact, ...]:
        self.seq += 1
        decision = observed(actor, ts, *facts)
        # Its id says where it stands: two equal signals of one bot have different causes, so different ids.
        entry = Recorded(self.seq, actor, type(decision)(f"{self.seq:032x}", 0, "", ts, decision.facts))
        return self.take(entry)

    def take(self, entry: Recorded, recorded: tuple[Fact, ...] | None = None) -> tuple[Fact, ...]:
        if not self.decider.hears(entry):
            return ()
        self.decider.observe(self.state, entry)
        facts = self._decide(entry) if recorded is None else recorded
        for fact in facts:
            self.decider.evolve(self.state, fact)
        self.turns.append((entry, facts))
        return facts

    def _decide(self, entry: Recorded) -> tuple[Fact, ...]:
        before = deepcopy(self.state) if self.audit else None
        facts = self.decider.decide(self.state, entry)
        if self.audit:
            assert self.state == before, "decide changed the state"
            assert self.decider.decide(self.state, entry) == facts, "deciding twice gave two answers"
        return facts

    @property
    def facts(self) -> list[Fact]:
        return [fact for _, facts in self.turns for fact in facts]

    def every(self, kind: type[F]) -> list[F]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


class Desk(Account):
    """An account with one symbol and a clock that moves a minute a bar."""

    def __init__(
        self,
        *,
        sizing: Sizing | None = None,
        fees: Fees = FREE,
        fills: FillModel = IDEAL,
        limits: Limits | None = None,
        cash: int = 10_000,
        bots: tuple[str, ...] = ("a", "b", "c"),
        symbol: dict[str, Any] | None = None,
    ) -> None:
        sizing = sizing or Sizing(method="quantity", value=Decimal(1))
        steps: dict[str, Any] = {"tick": Decimal("0.01"), "lot": Decimal("0.001"), **(symbol or {})}
        plan = AccountPlan(cash=Decimal(cash), fees=fees, fills=fills, limits=limits or Limits())
        bot_plans = tuple(BotPlan(name=name, venue=VENUE, symbol=SYMBOL, sizing=sizing) for name in bots)
        super().__init__(AccountDecider(plan, (SymbolPlan(venue=VENUE, symbol=SYMBOL, **steps),), bot_plans))
        self.now = START

    def bar(self, o: float, h: float, l: float, c: float, volume: float = 1000.0) -> tuple[Fact, ...]:
        self.now += MINUTE
        return self.tell(
            subjects.market(VENUE, SYMBOL), self.now, Candle(VENUE, SYMBOL, "1m", self.now, o, h, l, c, volume)
        )

    def flat(self, price: float, volume: float = 1000.0) -> tuple[Fact, ...]:
        return self.bar(price, price, price, price, volume)

    def trade(self, price: float, qty: float) -> tuple[Fact, ...]:
        self.now += 1
        return self.tell(subjects.feed(VENUE, SYMBOL), self.now, Trade(VENUE, SYMBOL, self.now, price, qty))

    def want(self, target: float, bot: str = "a", **fields: Any) -> tuple[Fact, ...]:
        signal = Signal(bot, VENUE, SYMBOL, self.now, target, self.state_price(), **fields)
        return self.tell(subjects.bot(bot), self.now, signal)

    def state_price(self) -> float:
        return self.state.markets[subjects.market(VENUE, SYMBOL)].price or 0.0

    def restrict(self, level: str) -> tuple[Fact, ...]:
        return self.tell(subjects.COMMAND, self.now, RestrictTrading("*", self.now, "me", level, "test"))

    def release(self) -> tuple[Fact, ...]:
        return self.tell(subjects.COMMAND, self.now, ReleaseTrading("*", self.now, "me", "test"))

    def fills(self) -> list[tuple[str, str, str, str]]:
        """(role, side, quantity, price) of each fill so far."""
        return [(one.role, one.side, text(one.qty), text(one.price)) for one in self.every(Fill)]

    def refusal(self) -> str:
        """The reason of the last refusal, or nothing."""
        found = self.every(RiskRefused)
        return found[-1].reason if found else ""

    def cancels(self) -> list[tuple[str, str]]:
        """(role, reason) of each cancel so far."""
        roles = {one.order: one.role for one in self.every(OrderPlaced)}
        return [(roles[one.order], one.reason) for one in self.every(OrderCancelled)]

    def position(self, bot: str = "a") -> str:
        return text(self.state.books[bot].position)

    def working(self, bot: str = "a") -> list[tuple[str, str, str | None]]:
        """(role, kind, what is open or None) of the bot's open orders."""
        orders = self.state.markets[subjects.market(VENUE, SYMBOL)].orders.values()
        return [(o.role, o.kind, None if o.qty is None else text(o.leaves)) for o in orders if o.bot == bot]


def text(value: Decimal) -> str:
    return f"{value.normalize():f}"
