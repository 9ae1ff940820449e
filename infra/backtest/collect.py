"""Watches a backtest's tape go by and keeps what a report needs: trades and one equity point a bar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import localcontext
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from actors.account.money import EXACT
from actors.lane import Lane
from actors.plan import Plan
from actors.stretch import Stretch
from actors.stretchwords import StretchWords
from events import subjects
from events.block import Ints
from events.bulk import feed_ids, passed_on
from events.control import Quarantined
from events.decision import Decision, Recorded
from events.digest import Digest
from events.fact import Fact, kind
from events.market import Candle, CandleBackfilled, CandleRevised, DataFlagged, GapFound
from events.trading import Fill, OrderPlaced, RiskApproved, RiskRefused, Signal, TradingDayStarted
from infra.backtest.money import Money
from infra.backtest.result import Curve, Curves, Facts, Market, Result, Sketch
from infra.backtest.series import Marks
from infra.backtest.shared import Shared


class _Grid:
    """All times at which a market has a bar."""

    def __init__(self, marks: Mapping[str, Marks]) -> None:
        self._marks = marks

    @cached_property
    def ts(self) -> Ints:
        whole = [marks.whole()[0] for marks in self._marks.values()]
        return whole[0] if len(whole) == 1 else np.unique(np.concatenate(whole or [np.empty(0, np.int64)]))


def _curve(money: Money, grid: _Grid, marks: Mapping[str, Marks]) -> Curve:
    return money.curve(grid.ts, marks)


def _sketch(money: Money, grid: _Grid, marks: Mapping[str, Marks]) -> Sketch:
    return money.sketch(grid.ts, marks)


class Player(Protocol):
    def feed(self, actor: str, message: Decision) -> None: ...
    def play(self, window: Any) -> None: ...


class Collector:
    """Show it every entry in tape order but those that `passed` tells in columns.

    `digest`: whether to work it out. `columnar`: symbols' actors whose decisions `passed` tells. `shared`: with other
    runs over the same windows.
    """

    def __init__(
        self, plan: Plan, *, digest: bool = True, columnar: Collection[str] = (), shared: Shared | None = None
    ) -> None:
        self._shared = shared
        self._plan, self._columnar = plan, frozenset(columnar)
        self._markets = {
            subjects.market(one.venue, one.symbol): Market(one.venue, one.symbol, one.base)
            for one in sorted(plan.symbols, key=lambda one: (one.venue, one.symbol))
        }
        self._moneys = {one.name: Money(one) for one in sorted(plan.accounts, key=lambda one: one.name)}
        self._marks = {key: Marks(shared) for key in self._markets}
        self._digest = Digest() if digest else None
        self._entries = self._decisions = 0
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
        derived = not entry.actor.startswith("feed.")
        self._decisions += bool(entry.decision.by)
        if self._digest is not None and entry.actor not in self._columnar:
            self._digest.add(entry.actor, entry.decision)
        for fact in entry.decision.facts:
            what = type(fact)
            self._kinds[what] += derived
            kept = self._kept.get(what)
            if kept is not None:
                kept.append(fact)
            handle = self._handlers.get(what)
            if handle is not None:
                handle(entry.actor, fact)

    def drive(self, run: Player, parts: Iterable[Any], progress: Callable[[int], None] | None) -> None:
        """Plays windows, and messages between them. `progress` is told how many rows and messages are done."""
        done = 0
        for part in parts:
            if isinstance(part, tuple):
                with self._between():
                    run.feed(part[1], part[2])
                done += 1
            else:
                run.play(part)
                done += sum(len(rows.ts) for rows in part.values())
            if progress is not None:
                progress(done)

    @contextmanager
    def _between(self) -> Iterator[None]:
        """While a message between windows is dealt with: nobody but entries tells of symbols then."""
        columnar, self._columnar = self._columnar, frozenset()
        yield
        self._columnar = columnar

    def traded(self, stretch: Stretch) -> None:
        """Takes in what no entry was shown for, because it came in columns."""
        legs, said = stretch.legs, stretch.said
        self._entries += stretch.decisions
        self._decisions += stretch.decisions
        some: dict[type[Fact], int] = {
            Signal: len(said), RiskApproved: len(legs) - int(np.count_nonzero(legs.exits)), OrderPlaced: len(legs),
            Fill: len(legs), TradingDayStarted: len(stretch.days),
        }  # fmt: skip
        # What other runs hold anyway need not be made small.
        small = stretch.compact() if stretch.decisions and self._shared is None else stretch
        for what, count in some.items():
            if count:
                self._kinds[what] += count
            if count and what in self._kept:
                self._kept[what].append(small)
        key = subjects.market(stretch.bot.venue, stretch.bot.symbol)
        self._moneys[stretch.account.name].traded(key, stretch)
        if len(legs) and self._marks[key].first is None:
            self._marks[key].first = legs.price[0] / 10.0**legs.scales.places
        if self._digest is not None and stretch.decisions:
            bot, account = self._words(stretch, small).both()
            self._digest.add_many(subjects.bot(stretch.bot.name), bot, len(said))
            self._digest.add_many(subjects.account(stretch.account.name), account, stretch.decisions - len(said))

    def _words(self, stretch: Stretch, small: Stretch) -> StretchWords:
        """With the ids of all rows where other runs want them, too; else of those on which something happened."""
        bot = stretch.bot
        names = (subjects.feed(bot.venue, bot.symbol), bot.venue, bot.symbol, stretch.timeframe)
        if self._shared is not None:
            return StretchWords(stretch, self._shared.ids(*names, stretch.rows, stretch.touched))
        return StretchWords(small, feed_ids(*names, small.rows))

    def passed(self, lane: Lane) -> None:
        """Takes in a window whose plain rows no entry was shown for."""
        plain, rows = lane.judged.plain, lane.rows
        count = len(rows) - len(lane.odd)
        self._entries += 2 * count
        self._decisions += count
        if count:
            self._kinds[Candle] += count
            ts, close = (rows.ts, rows.close) if count == len(rows) else (rows.ts[plain], rows.close[plain])
            self._marks[lane.market].add_many(rows, None if count == len(rows) else plain)
            market = self._markets[lane.market]
            first = int(plain.argmax())
            if not market.bars or int(ts[0]) < market.first_ts:
                market.first_ts, market.first_open = int(ts[0]), float(rows.open[first])
            market.bars += count
            if int(ts[-1]) > market.last_ts:
                market.last_ts, market.last_close = int(ts[-1]), float(close[-1])
        if self._digest is None:
            return
        shared, before = self._shared, self._digest.state(lane.market)
        if shared is None:
            self._chain(self._digest, lane)
        elif not shared.known(self._digest, lane.market, rows):
            done = self._digest.decisions
            self._chain(self._digest, lane)
            shared.learn(self._digest, lane.market, rows, before, self._digest.decisions - done)

    def _chain(self, digest: Digest, lane: Lane) -> None:
        """The symbol's decisions in their order: runs of plain rows at once, the others one by one."""
        at, names = 0, (lane.market, lane.venue, lane.symbol, lane.timeframe)
        for row, decision in [*lane.published, (len(lane.rows), None)]:
            if row > at:
                digest.add_many(lane.market, passed_on(*names, lane.rows[slice(at, row)]), row - at)
            if decision is not None:
                digest.add(lane.market, decision)
            at = row + 1

    def result(self, close_last: str | None) -> Result:
        with localcontext(EXACT):
            holdings = [one for money in self._moneys.values() for one in money.holdings(self._marks)]
        marks, grid = self._marks, _Grid(self._marks)
        return Result(
            self._plan,
            self._digest.hexdigest() if self._digest is not None else "",
            self._digest.by_actor() if self._digest is not None else {},
            self._entries,
            self._decisions,
            Curves(
                {name: partial(_curve, money, grid, marks) for name, money in self._moneys.items()},
                {name: partial(_sketch, money, grid, marks) for name, money in self._moneys.items()},
            ),
            Facts(Fill, self._kept[Fill]),
            Facts(OrderPlaced, self._kept[OrderPlaced]),
            Facts(Signal, self._kept[Signal]),
            Facts(RiskRefused, self._kept[RiskRefused]),
            tuple(holdings),
            tuple(self._markets.values()),
            dict(sorted((kind(what), n) for what, n in self._kinds.items())),
            close_last,
        )

    def _candle(self, actor: str, candle: Candle) -> None:
        market = self._markets.get(actor)
        if market is None or candle.timeframe != market.base:
            return
        if not market.bars or candle.ts < market.first_ts:
            market.first_ts, market.first_open = candle.ts, candle.open
        market.bars += 1
        if candle.ts > market.last_ts:
            market.last_ts, market.last_close = candle.ts, candle.close
        self._marks[actor].add(candle.ts, candle.close)

    def _fill(self, actor: str, fill: Fill) -> None:
        self._moneys[fill.account].filled(subjects.market(fill.venue, fill.symbol), fill)
        # A fill of a trade comes before the first bar is complete: until then its price is the mark.
        marks = self._marks[subjects.market(fill.venue, fill.symbol)]
        if marks.first is None:
            marks.first = float(fill.price)

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
