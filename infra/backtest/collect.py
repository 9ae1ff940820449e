"""Watches a backtest's tape go by and keeps what a report needs: trades and one equity point a bar."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from decimal import localcontext
from typing import Any

import numpy as np

from actors.account.money import EXACT, ZERO, exact
from actors.plan import AccountPlan, Plan
from events import subjects
from events.control import Quarantined
from events.decision import Recorded
from events.digest import Digest
from events.fact import Fact, kind
from events.market import Candle, CandleBackfilled, CandleRevised, DataFlagged, GapFound
from events.trading import Fill, OrderPlaced, RiskRefused, Signal
from infra.backtest.result import Curve, Holding, Market, Result


class Money:
    """One account: its cash, its positions by (bot, market), and its equity so far."""

    def __init__(self, plan: AccountPlan) -> None:
        self.plan = plan
        self.cash = plan.cash
        self.open: dict[tuple[str, str], Fill] = {}
        self.traded = False
        self.ts, self.equity, self.gross, self.held = array("q"), array("d"), array("d"), array("b")

    def filled(self, key: str, fill: Fill) -> None:
        self.cash, self.traded = fill.cash, True
        if fill.position:
            self.open[fill.bot, key] = fill
        else:
            self.open.pop((fill.bot, key), None)

    def point(self, ts: int, marks: dict[str, float]) -> None:
        values = [fill.position * exact(marks[key]) for (_, key), fill in self.open.items()]
        self.ts.append(ts)
        self.equity.append(float(sum(values, self.cash)))
        self.gross.append(float(sum(map(abs, values), ZERO)))
        self.held.append(self.traded or bool(values))
        self.traded = False

    def curve(self) -> Curve:
        ts, equity = np.array(self.ts, np.int64), np.array(self.equity, np.float64)
        gross, held = np.array(self.gross, np.float64), np.array(self.held, np.bool_)
        return Curve(self.plan.currency, float(self.plan.cash), ts, equity, gross, held)

    def holdings(self, marks: dict[str, float]) -> list[Holding]:
        found = []
        for (bot, key), fill in sorted(self.open.items()):
            mark = exact(marks[key])
            gain = fill.position * (mark - fill.average)
            found.append(Holding(self.plan.name, bot, fill.venue, fill.symbol, fill.position, fill.average, mark, gain))
        return found


class Collector:
    """Show it every entry in tape order, and call `point` when the time of the stream moves on."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._markets = {
            subjects.market(one.venue, one.symbol): Market(one.venue, one.symbol, one.base)
            for one in sorted(plan.symbols, key=lambda one: (one.venue, one.symbol))
        }
        self._moneys = {one.name: Money(one) for one in sorted(plan.accounts, key=lambda one: one.name)}
        self._marks: dict[str, float] = {}
        self._bar = 0
        self._digest = Digest()
        self._entries = 0
        self._kinds: Counter[type[Fact]] = Counter()
        self._kept: dict[type[Fact], list[Any]] = {one: [] for one in (Fill, OrderPlaced, Signal, RiskRefused)}
        self._handlers: dict[type[Fact], Callable[[str, Any], None]] = {
            Candle: self._candle,
            Fill: self._fill,
            GapFound: self._gap,
            CandleBackfilled: self._backfilled,
            CandleRevised: self._revised,
            DataFlagged: self._flagged,
            Quarantined: self._quarantined,
        }

    def __call__(self, entry: Recorded) -> None:
        self._entries += 1
        self._digest.add(entry.actor, entry.decision)
        derived = not entry.actor.startswith("feed.")
        for fact in entry.decision.facts:
            what = type(fact)
            self._kinds[what] += derived
            kept = self._kept.get(what)
            if kept is not None:
                kept.append(fact)
            handle = self._handlers.get(what)
            if handle is not None:
                handle(entry.actor, fact)

    def point(self) -> None:
        """One equity point per account for the newest bar, unless it has one."""
        if not self._bar:
            return
        with localcontext(EXACT):
            for money in self._moneys.values():
                money.point(self._bar, self._marks)
        self._bar = 0

    def result(self, close_last: str | None) -> Result:
        with localcontext(EXACT):
            holdings = [one for money in self._moneys.values() for one in money.holdings(self._marks)]
        return Result(
            self._plan,
            self._digest.hexdigest(),
            self._digest.by_actor(),
            self._entries,
            self._digest.decisions,
            {name: money.curve() for name, money in self._moneys.items()},
            tuple(self._kept[Fill]),
            tuple(self._kept[OrderPlaced]),
            tuple(self._kept[Signal]),
            tuple(self._kept[RiskRefused]),
            tuple(holdings),
            tuple(self._markets.values()),
            dict(sorted((kind(what), n) for what, n in self._kinds.items())),
            close_last,
        )

    def _candle(self, actor: str, candle: Candle) -> None:
        market = self._markets.get(actor)
        if market is None or candle.timeframe != market.base:
            return
        if not market.bars:
            market.first_ts, market.first_open = candle.ts, candle.open
        market.bars += 1
        market.last_ts, market.last_close = candle.ts, candle.close
        self._marks[actor] = candle.close
        self._bar = max(self._bar, candle.ts)

    def _fill(self, actor: str, fill: Fill) -> None:
        self._moneys[fill.account].filled(subjects.market(fill.venue, fill.symbol), fill)
        # A fill of a trade comes before the first bar is complete: until then its price is the mark.
        self._marks.setdefault(subjects.market(fill.venue, fill.symbol), float(fill.price))

    def _gap(self, actor: str, gap: GapFound) -> None:
        market = self._markets.get(actor)
        if market is not None and gap.timeframe == market.base:
            market.gaps += 1
            market.missing += gap.missing

    def _backfilled(self, actor: str, fact: CandleBackfilled) -> None:
        market = self._markets.get(actor)
        if market is not None and fact.timeframe == market.base:
            market.backfilled += 1

    def _revised(self, actor: str, fact: CandleRevised) -> None:
        market = self._markets.get(actor)
        if market is not None and fact.timeframe == market.base:
            market.revised += 1

    def _flagged(self, actor: str, fact: DataFlagged) -> None:
        market = self._markets.get(actor)
        if market is not None:
            market.flags[fact.issue] = market.flags.get(fact.issue, 0) + 1

    def _quarantined(self, actor: str, fact: Quarantined) -> None:
        market = self._markets.get(actor)
        if market is not None:
            market.quarantined[fact.reason] = market.quarantined.get(fact.reason, 0) + 1
