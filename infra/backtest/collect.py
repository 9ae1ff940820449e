"""Watches a backtest's tape go by and keeps what a report needs: trades and one equity point a bar."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import localcontext
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from actors import kernels
from actors.account.money import EXACT, exact
from actors.lane import Lane
from actors.plan import AccountPlan, Plan
from actors.stretch import Stretch
from actors.stretchwords import StretchWords
from events import subjects
from events.block import Floats, Ints
from events.bulk import feed_ids, passed_on
from events.control import Quarantined
from events.decision import Decision, Recorded
from events.digest import Digest
from events.fact import Fact, kind
from events.market import Candle, CandleBackfilled, CandleRevised, DataFlagged, GapFound
from events.trading import Fill, OrderPlaced, RiskApproved, RiskRefused, Signal, TradingDayStarted
from infra.backtest.result import Curve, Curves, Facts, Holding, Market, Result
from infra.backtest.series import Levels, Marks, Steps
from infra.backtest.shared import Shared

PIECE = 32_768  # points of a curve worked out at a time: they stay in the processor's cache


class Money:
    """One account: its cash and its positions by (bot, market), as each fill left them."""

    def __init__(self, plan: AccountPlan) -> None:
        self.plan = plan
        self.open: dict[tuple[str, str], Fill] = {}
        self.ts, self.cash = array("q"), array("d", [float(plan.cash)])
        self.positions: dict[tuple[str, str], Steps] = {}

    def filled(self, key: str, fill: Fill) -> None:
        self.ts.append(fill.ts)
        self.cash.append(float(fill.cash))
        self.positions.setdefault((fill.bot, key), Steps()).add(fill.ts, float(fill.position))
        if fill.position:
            self.open[fill.bot, key] = fill
        else:
            self.open.pop((fill.bot, key), None)

    def traded(self, key: str, stretch: Stretch) -> None:
        """Takes in the fills of a stretch as columns; what is open after it is known by its last fill."""
        legs = stretch.legs
        if not len(legs):
            return
        ts, scales = stretch.rows.ts[legs.row], legs.scales
        self.ts.frombytes(ts.tobytes())
        self.cash.frombytes(_floats(legs.cash, scales.digits).tobytes())
        steps = self.positions.setdefault((stretch.bot.name, key), Steps())
        steps.add_many(ts, _floats(legs.position, scales.lots))
        if legs.exits[-1]:
            self.open.pop((stretch.bot.name, key), None)
        else:
            self.open[stretch.bot.name, key] = stretch.last_fill()

    def curve(self, ts: Ints, marks: Mapping[str, Marks]) -> Curve:
        """One point per element of `ts`, after everything of that time; worked out in pieces to bound memory."""
        times, cash = np.array(self.ts, np.int64), np.array(self.cash)
        if kernels.is_warm() and len(self.positions) == 1:
            return self._traced(ts, times, cash, marks)
        rows = len(ts)
        equity, gross, held = np.empty(rows), np.zeros(rows), np.zeros(rows, np.bool_)
        moves = np.searchsorted(ts, times)  # rows from which on a fill counts
        held[moves[moves < rows]] = True
        levels = Levels(cash, moves)
        positions = [(marks[key], steps.over(ts)) for (_, key), steps in self.positions.items()]
        for start in range(0, rows, PIECE):
            stop = min(start + PIECE, rows)
            part = slice(start, stop)
            equity[part] = levels.at(start, stop)
            for mark, steps in positions:
                position = steps.at(start, stop)
                held[part] |= position != 0
                position *= mark.at(ts[part])
                equity[part] += position
                gross[part] += np.abs(position, out=position)
        return Curve(self.plan.currency, float(self.plan.cash), ts, _written(equity), gross, held)

    def _traced(self, ts: Ints, times: Ints, cash: Floats, marks: Mapping[str, Marks]) -> Curve:
        """As `curve`, of fills of one bot, in one compiled pass."""
        from infra.backtest import loops

        (((_, key), steps),) = self.positions.items()
        rows = len(ts)
        equity, gross, held = np.empty(rows), np.empty(rows), np.empty(rows, np.bool_)
        loops.trace(times, ts, cash, steps.values, marks[key].at(ts), equity, gross, held)
        return Curve(self.plan.currency, float(self.plan.cash), ts, _written(equity), gross, held)

    def holdings(self, marks: Mapping[str, Marks]) -> list[Holding]:
        found = []
        for (bot, key), fill in sorted(self.open.items()):
            mark = exact(marks[key].last)
            gain = fill.position * (mark - fill.average)
            found.append(Holding(self.plan.name, bot, fill.venue, fill.symbol, fill.position, fill.average, mark, gain))
        return found


def _floats(numbers: Ints, decimals: int) -> Floats:
    """The floats nearest to these decimals: numpy's quotient is that as long as both are below 2**53."""
    if len(numbers) and max(int(numbers.max()), -int(numbers.min())) >= 2**53:
        unit = 10**decimals
        return np.array([one / unit for one in numbers.tolist()])
    found: Floats = numbers / 10.0**decimals
    return found


def _written(values: Floats) -> Floats:
    largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if 0 < largest < 1e15:
        places = min(12, 14 - int(np.floor(np.log10(largest))))
        for start in range(0, len(values), PIECE):
            part = values[start : start + PIECE]
            np.round(part, places, out=part)
    return values


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
        count = int(np.count_nonzero(plain))
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
            Curves({name: partial(_curve, money, grid, marks) for name, money in self._moneys.items()}),
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
