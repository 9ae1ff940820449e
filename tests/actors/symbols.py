"""Running the decider of a symbol by hand, as its host does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from actors.plan import SymbolPlan
from actors.symbol import SymbolDecider, SymbolState
from events import block, subjects
from events.block import Columns
from events.decision import Decision, Recorded
from events.fact import Fact
from events.market import Candle, CandleBackfilled, CandleBlock, CandleRevised

V, S = "venue", "BTC-USDT"
FEED = subjects.feed(V, S)
MINUTE = 60_000_000
T0 = 1_700_006_400_000_000  # 2023-11-15 00:00 UTC, a Wednesday: every timeframe up to a day begins here


def plan(**changes: Any) -> SymbolPlan:
    return SymbolPlan(**{"venue": V, "symbol": S, "lot": Decimal("0.00000001"), **changes})


def entry(seq: int, *facts: Fact) -> Recorded:
    ts = getattr(facts[0], "ts", 0)
    return Recorded(seq, FEED, Decision(f"{seq:032x}", 0, "", ts if isinstance(ts, int) else 0, facts))


def entries(messages: Iterable[Fact | Sequence[Fact]]) -> list[Recorded]:
    return [
        entry(seq, *((message,) if isinstance(message, Fact) else message)) for seq, message in enumerate(messages, 1)
    ]


def step(decider: SymbolDecider, state: SymbolState, one: Recorded) -> tuple[Fact, ...]:
    if not decider.hears(one):
        return ()
    decider.observe(state, one)
    facts = decider.decide(state, one)
    for fact in facts:
        decider.evolve(state, fact)
    return facts


def play(decider: SymbolDecider, messages: Iterable[Fact | Sequence[Fact]]) -> list[Fact]:
    """All facts decided, in order."""
    state = decider.initial()
    return [fact for one in entries(messages) for fact in step(decider, state, one)]


def of(facts: Iterable[Fact], kind: type[Any], timeframe: str | None = None) -> list[Any]:
    return [fact for fact in facts if type(fact) is kind and timeframe in (None, getattr(fact, "timeframe", None))]


Row = tuple[float, float, float, float, float, int | None]


def bars(facts: Iterable[Fact], timeframe: str) -> dict[int, Row]:
    """What was published of a timeframe, by close time, with backfills and revisions."""
    found: dict[int, Row] = {}
    for fact in facts:
        if isinstance(fact, Candle | CandleBackfilled | CandleRevised) and fact.timeframe == timeframe:
            assert (fact.ts in found) == isinstance(fact, CandleRevised), "one bar per close, and then only revisions"
            found[fact.ts] = (fact.open, fact.high, fact.low, fact.close, fact.volume, fact.count)
        elif isinstance(fact, CandleBlock) and fact.timeframe == timeframe:
            new = rows(block.unpack(fact))
            assert not found.keys() & new.keys()
            found |= new
    return found


def rows(columns: Columns) -> dict[int, Row]:
    return {c.ts: (c.open, c.high, c.low, c.close, c.volume, c.count) for c in block.candles(V, S, "", columns)}


def candles(columns: Columns, timeframe: str) -> list[Candle]:
    return list(block.candles(V, S, timeframe, columns))


def blocks(columns: Columns, timeframe: str, size: int) -> list[CandleBlock]:
    """History in blocks of `size` rows."""
    parts = [columns[slice(start, start + size)] for start in range(0, len(columns), size)]
    return [one for part in parts for one in block.pack(V, S, timeframe, part)]


def same(found: dict[int, Row], wanted: dict[int, Row]) -> None:
    """Equal to the last bit."""
    assert found.keys() == wanted.keys(), sorted(found.keys() ^ wanted.keys())[:5]
    different = [(ts, found[ts], wanted[ts]) for ts in wanted if found[ts] != wanted[ts]]
    assert not different, different[:5]


def minute(number: int, price: float = 100.0, volume: float = 1.0, **changes: Any) -> Candle:
    """The bar that closes `number` minutes after T0."""
    ts = T0 + number * MINUTE
    values = {"open": price, "high": price, "low": price, "close": price, "volume": volume, "count": 1, **changes}
    return Candle(V, S, "1m", ts, **values)


def columns_of(some: Sequence[Candle]) -> Columns:
    o, h, l, c, v = (np.array([getattr(one, n) for one in some]) for n in ("open", "high", "low", "close", "volume"))
    return Columns(np.array([one.ts for one in some], np.int64), o, h, l, c, v)
