"""Backtests of trades in columns: what `infra.backtest.engine.play` is for candles."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from actors.plan import Plan
from actors.roster import deciders
from actors.stretch import Stretch
from actors.symbol import SymbolDecider, tradecolumns
from actors.ticklane import Lane
from actors.ticks import Ticks, Window, merged
from actors.tickstretch import TradeStretch, TradeWords
from events import subjects
from events.block import Ints
from events.bulk import Bytes, caused
from events.digest import Digest
from events.feed import observed
from events.market import Candle, Trade
from events.tickbulk import SIDES, trade_ids
from infra.backtest.collect import Collector
from infra.backtest.result import Result
from infra.session.market import Stamped


def eligible(plan: Plan) -> bool:
    """Whether the bars of all symbols are made of trades, and no higher timeframes of them."""
    return all(one.source == "trades" and not one.timeframes for one in plan.symbols)


def play_trades(
    plan: Plan,
    parts: Iterable[Window | Stamped],
    *,
    digest: bool = True,
    close_last: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """`infra.backtest.engine.backtest` over columns of trades: the same decisions, faster.

    `plan` is `eligible`. `parts`: windows of trades by feed, and messages between them. `digest` False: it is not
    worked out, and empty in the result. `close_last` is only noted: the parts hold the command. Raises what
    `backtest` raises.
    """
    collector = TradeCollector(plan, digest=digest)
    run = Ticks(deciders(plan), collector, collector.ended, collector.traded)
    collector.drive(run, parts, progress)
    return collector.result(close_last)


def messages(plan: Plan, windows: Iterable[Window]) -> Iterator[Stamped]:
    """What the feeds say in these windows, one message a trade, in the order in which they are played."""
    doors = {
        subjects.feed(one.venue, one.symbol): SymbolDecider(one).rules for one in plan.symbols if one.source == "trades"
    }
    for window in windows:
        feeds = [feed for feed in sorted(window) if len(window[feed].ts)]
        rows = [window[feed] for feed in feeds]
        if not rows:
            continue
        good = [tradecolumns.sound(doors[feed], one) for feed, one in zip(feeds, rows, strict=True)]
        order, owners, starts = merged(rows, good)
        for place in order.tolist():
            owner = int(owners[place])
            feed, one, row = feeds[owner], rows[owner], place - int(starts[owner])
            door = doors[feed]
            ts, side = int(one.ts[row]), SIDES[int(one.side[row])]
            trade = Trade(door.venue, door.symbol, ts, float(one.price[row]), float(one.qty[row]), side, one.id[row])
            yield ts, feed, observed(feed, ts, trade)


class TradeCollector(Collector):
    """Is told by `ended` of the rows and bars of a window that no entry was shown for."""

    def __init__(self, plan: Plan, *, digest: bool = True, columnar: Collection[str] = ()) -> None:
        markets = {subjects.market(one.venue, one.symbol) for one in plan.symbols}
        super().__init__(plan, digest=digest, columnar={*columnar, *markets})

    def traded(self, stretch: Stretch) -> None:
        assert isinstance(stretch, TradeStretch), "the rows here are trades"
        digest, self._digest = self._digest, None  # whose words are others than those of candles
        small = stretch.compact()
        super().traded(small)
        self._digest = digest
        if digest is not None and stretch.decisions:
            bot, account = subjects.bot(stretch.bot.name), subjects.account(stretch.account.name)
            feed, count = subjects.feed(stretch.bot.venue, stretch.bot.symbol), len(small.said)
            words = TradeWords(small, _ids_of(feed, [small.trade(row) for row in range(small.end)]))
            digest.add_many(bot, words.bot(), count)
            digest.add_many(account, words.account(), stretch.decisions - count)

    def ended(self, lane: Lane) -> None:
        self._entries += lane.count - lane.odd
        self._kinds[Trade] += 0  # feeds' own facts are named and not counted
        if lane.judged is not None:
            self._bars(lane, lane.judged)
        if self._digest is not None:
            _chain(self._digest, lane)

    def _bars(self, lane: Lane, judged: tradecolumns.Judged) -> None:
        bars = judged.bars
        count = len(bars)
        if not count:
            return
        self._entries += count
        self._decisions += count
        self._kinds[Candle] += count
        self._marks[lane.market].add_many(bars, None)
        market = self._markets[lane.market]
        if not market.bars or int(bars.ts[0]) < market.first_ts:
            market.first_ts, market.first_open = int(bars.ts[0]), float(bars.open[0])
        market.bars += count
        if int(bars.ts[-1]) > market.last_ts:
            market.last_ts, market.last_close = int(bars.ts[-1]), float(bars.close[-1])


def _chain(digest: Digest, lane: Lane) -> None:
    """The symbol's decisions in their order: runs of plain bars at once, the others one by one."""
    bodies, at = _bodies(lane), 0
    width = len(bodies) // len(lane.closings) if bodies else 0
    for place, decision in [*lane.published, (width and len(lane.closings), None)]:
        if place > at:
            digest.add_many(lane.market, bodies[at * width : place * width], place - at)
        at = place
        if decision is not None:
            digest.add(lane.market, decision)


def _bodies(lane: Lane) -> bytes:
    """What the digest hashes of the plain bars: each body after its length. It names the trade that closed the bar."""
    judged = lane.judged
    if judged is None or not len(judged.closings):
        return b""
    names = (lane.market, lane.venue, lane.symbol, lane.timeframe)
    return caused(*names, judged.bars, _ids(lane, judged.closings), lane.rows.ts[judged.closings])


def _ids(lane: Lane, at: Ints) -> Bytes:
    """(rows, 16): the ids of the feed's messages of some rows."""
    rows = lane.rows
    names = list(map(rows.id.__getitem__, at.tolist()))
    return trade_ids(
        lane.feed, lane.venue, lane.symbol, rows.ts[at], rows.price[at], rows.qty[at], rows.side[at], names
    )


def _ids_of(feed: str, trades: Sequence[Trade]) -> Bytes:
    """(trades, 16): the ids of the messages in which a feed says these trades, all of one symbol."""
    if not trades:
        return np.empty((0, 16), np.uint8)
    ts = np.array([one.ts for one in trades], np.int64)
    price, qty = np.array([(one.price, one.qty) for one in trades], np.float64).T
    side = np.array([SIDES.index(one.side) for one in trades], np.int8)
    return trade_ids(feed, trades[0].venue, trades[0].symbol, ts, price, qty, side, [one.id for one in trades])
