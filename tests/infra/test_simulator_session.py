"""What the actors make of the simulated exchange, in lock-step: bars, gaps, and bots that trade."""

from collections import Counter, defaultdict

import pytest

from actors.lockstep import Lockstep
from actors.plan import Plan, SymbolPlan
from actors.roster import deciders
from events.block import candles
from events.decision import Recorded
from events.fact import Fact, kind
from events.market import Candle, CandleBackfilled, GapFilled, GapFound
from events.timeframe import MINUTE
from events.trading import Fill, Signal
from infra.simulator import PAIRS, VENUE, SimulatorSettings, columns, default_plan, source
from infra.simulator.outages import WINDOW, outage

SETTINGS = SimulatorSettings()
STARTS = [
    1_760_000_400_000_000,  # 2025-10-09 09:00:00 UTC
    1_767_225_600_000_000,  # 2026-01-01 00:00:00 UTC
    1_790_000_100_000_000,  # 2026-09-21 14:15:00 UTC
    1_800_000_000_000_000,  # 2027-01-15 08:00:00 UTC
    1_830_297_600_000_000,  # 2028-01-01 00:00:00 UTC
]


def played(start: int, minutes: int, plan: Plan | None = None) -> list[tuple[str, int, Fact]]:
    """(actor, event time, fact) of all that is decided in some simulated minutes on a plan, or the default one."""
    found: list[tuple[str, int, Fact]] = []

    def sink(entry: Recorded) -> None:
        if not entry.actor.startswith("feed."):
            found.extend((entry.actor, entry.decision.ts, fact) for fact in entry.decision.facts)

    play = Lockstep(deciders(plan or default_plan(SETTINGS)), sink)
    for ts, feed, message in source(SETTINGS, start, plan.symbols if plan else ())(0, ""):
        if ts > start + minutes * MINUTE:
            return found
        play.feed(feed, message)
    raise AssertionError("the stream has no end")


@pytest.fixture(scope="module", params=STARTS, ids=str)
def half_hour(request: pytest.FixtureRequest) -> tuple[int, list[tuple[str, int, Fact]]]:
    return request.param, played(request.param, 30)


def test_half_an_hour_has_signals_fills_and_closed_round_trips(
    half_hour: tuple[int, list[tuple[str, int, Fact]]],
) -> None:
    start, facts = half_hour
    signals = [ts for _, ts, fact in facts if isinstance(fact, Signal)]
    fills = [fact for _, _, fact in facts if isinstance(fact, Fill)]
    assert len(signals) >= 5
    assert min(signals) <= start + 10 * MINUTE
    assert len({fill.bot for fill in fills}) >= 3
    assert sum(fill.position == 0 for fill in fills) >= 2
    assert {fill.role for fill in fills} & {"stop-loss", "take-profit", "trailing"}


def test_nothing_the_exchange_says_is_doubtful(half_hour: tuple[int, list[tuple[str, int, Fact]]]) -> None:
    kinds = Counter(kind(fact) for _, _, fact in half_hour[1])
    assert not kinds.keys() & {"quarantined", "data-flagged", "candle-revised", "order-rejected", "actor-halted"}


def test_gaps_are_found_and_filled(half_hour: tuple[int, list[tuple[str, int, Fact]]]) -> None:
    start, facts = half_hour
    missing, filled = set(), set()
    for _, _, fact in facts:
        if isinstance(fact, GapFound):
            missing |= {(fact.symbol, ts) for ts in range(fact.first, fact.last + 1, MINUTE)}
        elif isinstance(fact, GapFilled):
            filled |= {(fact.symbol, ts) for ts in range(fact.first, fact.last + 1, MINUTE)}
    down = [one for window in range(2) if (one := outage(SETTINGS, start // MINUTE // WINDOW + window))]
    assert down
    assert missing == filled == {(one.symbol, (minute + 1) * MINUTE) for one in down for minute in one.minutes}


def test_bars_made_of_trades_are_the_exchanges_own(half_hour: tuple[int, list[tuple[str, int, Fact]]]) -> None:
    start, facts = half_hour
    bars: dict[tuple[str, str], list[Candle | CandleBackfilled]] = defaultdict(list)
    for _, _, fact in facts:
        if isinstance(fact, Candle | CandleBackfilled):
            bars[fact.symbol, fact.timeframe].append(fact)
    first = start // MINUTE
    for one in PAIRS:
        own = list(candles(VENUE, one.symbol, "1m", columns(SETTINGS, one.symbol, first, first + 30)))
        made = sorted(bars[one.symbol, "1m"], key=lambda bar: bar.ts)
        assert [values(bar) for bar in made] == [values(bar) for bar in own]
        fives = sorted(bars[one.symbol, "5m"], key=lambda bar: bar.ts)
        assert [bar.ts for bar in fives] == [start + 5 * n * MINUTE for n in range(1, 7)]
        for n, five in enumerate(fives):
            parts = own[5 * n : 5 * n + 5]
            assert (five.open, five.close) == (parts[0].open, parts[-1].close)
            assert (five.high, five.low) == (max(p.high for p in parts), min(p.low for p in parts))
            assert five.count == sum(p.count or 0 for p in parts)


def test_a_plan_made_of_bars_gets_the_same_bars_and_only_its_own_symbols() -> None:
    start = STARTS[0]
    downs = [one.symbol for window in range(2) if (one := outage(SETTINGS, start // MINUTE // WINDOW + window))]
    names = sorted({"BTC-USDT", *downs})
    sources = {"BTC-USDT": "trades"}
    plan = Plan(symbols=tuple(SymbolPlan(venue=VENUE, symbol=n, source=sources.get(n, "candles")) for n in names))
    facts = [fact for _, _, fact in played(start, 30, plan)]
    assert {kind(fact) for fact in facts} == {"candle-block", "candle", "gap-found", "gap-filled", "candle-backfilled"}
    for name in names:
        made = [fact for fact in facts if isinstance(fact, Candle | CandleBackfilled) and fact.symbol == name]
        first = start // MINUTE
        own = candles(VENUE, name, "1m", columns(SETTINGS, name, first, first + 30))
        assert [values(bar) for bar in sorted(made, key=lambda bar: bar.ts)] == [values(bar) for bar in own]


def test_a_plan_of_what_the_exchange_does_not_have_is_refused() -> None:
    for wrong, words in (
        (SymbolPlan(venue=VENUE, symbol="EUR-USD"), "has no EUR-USD"),
        (SymbolPlan(venue="binance", symbol="BTC-USDT"), "has no BTC-USDT of venue 'binance'"),
        (SymbolPlan(venue=VENUE, symbol="BTC-USDT", base="5m"), "write base = '1m'"),
    ):
        with pytest.raises(ValueError, match=words):
            source(SETTINGS, STARTS[0], (wrong,))


def values(bar: Candle | CandleBackfilled) -> tuple[int, float, float, float, float, float, int | None]:
    return bar.ts, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count
