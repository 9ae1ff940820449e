"""Trades in columns against trades one by one: same decisions, same ids, same places, same states, same digest."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.account.book import LEVELS
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, Limits, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from actors.ticks import Ticks
from actors.tickstretch import TradeStretch
from events import subjects
from events.control import PauseBot, ReleaseTrading, RestrictTrading, ResumeBot, SessionResumed, StopSession
from events.fact import Fact
from events.feed import observed
from events.market import FeedHeartbeat, FeedInterrupted, FeedOpened
from events.timeframe import MINUTE
from infra.backtest.engine import backtest
from infra.backtest.tickparity import assert_trade_parity, cut
from infra.backtest.ticks import messages, play_trades
from tests.infra.ticking import walk

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # an example takes too long for many hundreds of smaller ones
TICKING, SCALPER = "tests.infra.ticking:Ticking", "tests.infra.ticking:Scalper"
DICE = "tests.infra.columnar:Dice"


def plan(bots: list[dict], symbols: int = 1, symbol: dict | None = None, **account: object) -> Plan:
    return Plan(
        symbols=tuple(
            SymbolPlan(venue="sim", symbol=f"S{n}-USD", source="trades", **(symbol or {})) for n in range(symbols)
        ),
        bots=tuple(
            BotPlan(name=f"b{n}", venue="sim", symbol=f"S{n % symbols}-USD", **one) for n, one in enumerate(bots)
        ),
        accounts=(AccountPlan(**account),),
    )


def feed(number: int = 0) -> str:
    return subjects.feed("sim", f"S{number}-USD")


@pytest.mark.parametrize(
    ("strategy", "params"),
    [
        ("ema-cross", {"fast": 5, "slow": 13}),
        ("ema-cross", {"fast": 3, "slow": 8, "short": True, "stop_atr": 1.5, "target_atr": 2.0}),
        ("momentum", {}),
        ("breakout", {"short": True}),
        (SCALPER, {}),
        (TICKING, {"seed": 1, "order": "limit"}),
    ],
)
def test_strategies_of_bars_and_of_trades(strategy: str, params: dict) -> None:
    trades = walk(1, 4_000, a_minute=12, gaps=True)
    assert len(assert_trade_parity(strategy, trades, params=params)) == 32


@settings(max_examples=30, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from([DICE, TICKING]),
    often=st.integers(1, 12),
    order=st.sampled_from(["market", "limit", "stop"]),
    brackets=st.booleans(),
    a_minute=st.sampled_from([0.4, 3.0, 40.0]),
    odd=st.fixed_dictionaries({name: st.booleans() for name in ("garbage", "again", "disorder", "gaps", "same")}),
    ids=st.sampled_from(["rising", "none", "text"]),
    empty=st.sampled_from(["flat", "omit"]),
    calendar=st.sampled_from(["24x7", "fx"]),
    sizing=st.sampled_from([("quantity", "3"), ("fraction", "0.4"), ("all-in", "1")]),
    taker=st.sampled_from(["0", "0.001"]),
    slippage=st.sampled_from(["0", "0.0003"]),
    participation=st.sampled_from([None, "0.1", "1"]),
    window=st.sampled_from([1, 7, 100, 5000]),
)
def test_random_trades_strategies_brackets_and_fees(
    seed: int,
    strategy: str,
    often: int,
    order: str,
    brackets: bool,
    a_minute: float,
    odd: dict[str, bool],
    ids: str,
    empty: str,
    calendar: str,
    sizing: tuple[str, str],
    taker: str,
    slippage: str,
    participation: str | None,
    window: int,
) -> None:
    trades = walk(seed, 250, a_minute=a_minute, ids=ids, **odd)
    bot = {
        "strategy": strategy,
        "params": {"seed": seed, "often": often, "order": order, "brackets": brackets},
        "sizing": Sizing(method=sizing[0], value=Decimal(sizing[1])),
    }
    fees = Fees(maker=Decimal(taker) / 2, taker=Decimal(taker))
    fills = FillModel(
        slippage=Decimal(slippage), participation=None if participation is None else Decimal(participation)
    )
    whole = plan([bot], symbol={"empty": empty, "calendar": calendar}, fees=fees, fills=fills)
    assert_trade_parity(whole, {feed(): trades}, windows=(window,))


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6), symbols=st.integers(1, 3), window=st.sampled_from([1, 13, 900]), limited=st.booleans()
)
def test_many_bots_on_many_symbols_share_an_account(seed: int, symbols: int, window: int, limited: bool) -> None:
    """Bots of bars and bots of trades, some on the same symbol, with limits that bind."""
    limits = Limits(daily_loss=Decimal("0.02"), positions=2, cooldown=600) if limited else Limits()
    bots = [
        {"strategy": DICE, "params": {"seed": seed, "often": 3}},
        {"strategy": TICKING, "params": {"seed": seed + 1, "often": 4, "fussy": True}},
        {"strategy": SCALPER, "sizing": Sizing(value=Decimal("0.5"))},
        {"strategy": "ema-cross", "params": {"fast": 3, "slow": 8}, "sizing": Sizing(value=Decimal("0.7"))},
        {"strategy": TICKING, "params": {"seed": seed + 2, "often": 2, "order": "limit"}},
    ]
    trades = {
        feed(n): walk(seed + n, 150, a_minute=3, gaps=n == 1, garbage=n == 2, disorder=n == 2, same=True)
        for n in range(symbols)
    }
    assert_trade_parity(plan(bots, symbols, limits=limits), trades, windows=(window,))


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from([DICE, TICKING, "ema-cross"]),
    odd=st.fixed_dictionaries({name: st.booleans() for name in ("garbage", "again", "disorder", "same")}),
    a_minute=st.sampled_from([2.0, 20.0]),
    slippage=st.sampled_from(["0", "0.0003"]),
    participation=st.sampled_from([None, "0.5"]),
    cash=st.sampled_from(["100000", "500"]),
    window=st.sampled_from([50, 5000]),
)
def test_plain_trading_in_stretches(
    seed: int,
    strategy: str,
    odd: dict[str, bool],
    a_minute: float,
    slippage: str,
    participation: str | None,
    cash: str,
    window: int,
) -> None:
    """Market orders of a fixed quantity without brackets; at 500 some of them come near what the account has."""
    params = {"fast": 2, "slow": 4, "short": True} if strategy == "ema-cross" else {"seed": seed, "brackets": False}
    more = {"rare": 4, "often": 2} if strategy == TICKING else {}
    bot = {"strategy": strategy, "params": {**params, **more}, "sizing": Sizing(method="quantity", value=Decimal("2"))}
    part = None if participation is None else Decimal(participation)
    whole = plan([bot], fills=FillModel(slippage=Decimal(slippage), participation=part), cash=Decimal(cash))
    assert_trade_parity(whole, {feed(): walk(seed, 500, a_minute=a_minute, **odd)}, windows=(window,))


def test_plain_trading_is_told_in_stretches() -> None:
    """Otherwise the test above would show nothing."""
    bot = {"strategy": "ema-cross", "params": {"fast": 2, "slow": 4}, "sizing": Sizing(method="quantity")}
    whole = plan([bot], fills=FillModel(participation=None))
    told: list[TradeStretch] = []
    run = Ticks(deciders(whole), lambda _: None, traded=told.append)
    for window in cut({feed(): walk(3, 3_000, a_minute=5)}, 1_000):
        run.play(window)
    assert sum(len(stretch.said) for stretch in told) > 50


@settings(max_examples=12, deadline=None, phases=PHASES)
@given(
    seed=st.integers(0, 10**6),
    strategy=st.sampled_from([DICE, TICKING]),
    plain=st.booleans(),
    empty=st.sampled_from(["flat", "omit"]),
    kinds=st.lists(
        st.sampled_from(["beat", "break", "open", "pause", "resume", "stop", "go on", "release", *LEVELS[1:]]),
        max_size=8,
    ),
)
def test_what_is_said_between_windows(seed: int, strategy: str, plain: bool, empty: str, kinds: list[str]) -> None:
    """Heartbeats, breaks of the stream, and commands."""
    params = {"seed": seed, "often": 2, "brackets": not plain}
    sizing = Sizing(method="quantity", value=Decimal(1)) if plain else Sizing()
    whole = plan([{"strategy": strategy, "params": params, "sizing": sizing}], symbol={"empty": empty})
    parts: list[object] = []
    for number, window in enumerate(cut({feed(): walk(seed, 300, a_minute=4, gaps=True)}, 40)):
        ts = int(window[feed()].ts[0])
        if number < len(kinds):
            fact = between(kinds[number], ts)
            market = isinstance(fact, FeedHeartbeat | FeedInterrupted | FeedOpened)
            actor = feed() if market else subjects.COMMAND
            parts.append((ts, actor, observed(actor, ts, fact)))
        parts.append(window)
    stream = [one for part in parts for one in ([part] if isinstance(part, tuple) else messages(whole, [part]))]  # type: ignore[list-item]
    expected, found = backtest(whole, stream), play_trades(whole, parts)  # type: ignore[arg-type]
    assert (found.digests, found.entries, found.counts) == (expected.digests, expected.entries, expected.counts)


def between(kind: str, ts: int) -> Fact:
    facts: dict[str, Fact] = {
        "beat": FeedHeartbeat("sim", "S0-USD", ts),
        "break": FeedInterrupted("sim", "S0-USD", ts - 1, "gone"),
        "open": FeedOpened("sim", "S0-USD", ts, ts),
        "pause": PauseBot("*", ts, "operator", ""),
        "resume": ResumeBot("*", ts, "operator", ""),
        "stop": StopSession(ts, "operator", "", "cancel"),
        "go on": SessionResumed(ts, "operator"),
        "release": ReleaseTrading("*", ts, "operator", ""),
        **{level: RestrictTrading("*", ts, "operator", level, "") for level in LEVELS[1:]},
    }
    return facts[kind]


def test_minutes_before_any_price_are_a_gap_with_the_first_bar() -> None:
    """The stream is whole and has come some way, but nothing was settled, for there was no price for a flat bar."""
    whole = plan([{"strategy": DICE, "params": {"seed": 1}}])
    (window,) = cut({feed(): walk(1, 200, a_minute=10)}, 200)
    first = int(window[feed()].ts[0])
    begun = [
        FeedOpened("sim", "S0-USD", first - 9 * MINUTE, first - 9 * MINUTE),
        FeedHeartbeat("sim", "S0-USD", first - 1),
    ]
    parts = [(fact.ts, feed(), observed(feed(), fact.ts, fact)) for fact in begun]
    expected = backtest(whole, [*parts, *messages(whole, [window])])
    found = play_trades(whole, [*parts, window])
    assert expected.counts["gap-found"]
    assert (found.digests, found.entries, found.counts) == (expected.digests, expected.entries, expected.counts)
