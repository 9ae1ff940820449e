"""Strategies that hear trades: which ones they are shown, what they may want, and that live is as the backtest."""

from __future__ import annotations

import asyncio

import pytest

from actors.bot import BotDecider
from actors.decider import Poison
from actors.plan import AccountPlan, BotPlan, Limits, Plan, SymbolPlan
from actors.seat import Seat
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.control import BotStarted, PauseBot, Unreadable
from events.decision import Decision, Recorded
from events.fact import Fact
from events.market import Candle, Trade
from events.timeframe import SECOND
from events.trading import Signal
from infra.backtest.ticks import messages, play_trades
from tests.infra.ticking import START, walk
from tests.simulation.clock import run
from tests.simulation.scenario import audited
from tests.simulation.world import World, digest_of, undisturbed

FEED, MARKET = subjects.feed("sim", "A"), subjects.market("sim", "A")
SYMBOL = SymbolPlan(venue="sim", symbol="A", source="trades")


class Echo(Strategy):
    """Wants 1 of trades with a quantity of 1, 0 of those with 2; keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[float] = []

    def on_trade(self, trade: Trade, position: Position) -> Target | None:
        self.shown.append(trade.price)
        return {1.0: Target(1.0), 2.0: Target(0.0), 3.0: Target(float("nan"))}.get(trade.qty)


class Deaf(Strategy):
    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        return None


def plan(strategy: str = "Echo") -> BotPlan:
    return BotPlan(name="b", venue="sim", symbol="A", strategy=f"{__name__}:{strategy}")


def trade(second: int, price: float, qty: float = 9.0, name: str = "") -> Trade:
    return Trade("sim", "A", START + second * SECOND, price, qty, "", name)


class Bench:
    """A bot in its seat, with a tape of its own."""

    def __init__(self) -> None:
        self.decider = BotDecider(plan(), SYMBOL)
        self.seat, self.end = Seat(self.decider), 0

    def tell(self, actor: str, *facts: Fact) -> list[Fact]:
        self.end += 1
        ts = getattr(facts[-1], "ts", 0)
        entry = Recorded(self.end, actor, Decision(f"{self.end:032x}", 0, "", ts, facts), ts)
        if not self.decider.hears(entry):
            return []
        decision = self.seat.react(entry)
        return list(decision.facts) if decision is not None else []

    @property
    def shown(self) -> list[float]:
        strategy = self.seat.state.strategy
        assert isinstance(strategy, Echo)
        return strategy.shown


def test_only_a_strategy_that_defines_it_hears_trades_and_only_where_bars_are_made_of_them() -> None:
    assert f"{FEED}.trade" in BotDecider(plan(), SYMBOL).inbox
    for deaf in (
        BotDecider(plan("Deaf"), SYMBOL),
        BotDecider(plan(), SymbolPlan(venue="sim", symbol="A")),
        BotDecider(plan()),
    ):
        assert not any(pattern.startswith("feed") for pattern in deaf.inbox)
        entry = Recorded(1, FEED, Decision("0" * 32, 0, "", 0, (trade(1, 10.0),)), 0)
        assert not deaf.hears(entry)


def test_a_trade_makes_it_start_and_signal_at_the_price_of_the_trade() -> None:
    bench = Bench()
    started, signal = bench.tell(FEED, trade(1, 10.0, 1.0))
    assert isinstance(started, BotStarted)
    assert isinstance(signal, Signal)
    assert (signal.target, signal.price, signal.ts) == (1.0, 10.0, START + SECOND)
    assert bench.tell(FEED, trade(2, 11.0, 1.0)) == []  # the same wish is no news
    (flat,) = bench.tell(FEED, trade(3, 12.0, 2.0))
    assert isinstance(flat, Signal)
    assert flat.target == 0.0


def test_what_no_symbol_accepts_comes_late_or_again_is_not_shown() -> None:
    bench = Bench()
    told = (
        trade(5, 10.0, name="a"), trade(5, 11.0, name="b"), trade(5, 10.0, name="a"), trade(4, 12.0, name="c"),
        trade(6, -1.0), trade(6, float("inf")), trade(6, 13.0), trade(6, 13.0), trade(7, 14.0, name="a"),
    )  # fmt: skip
    for one in told:
        bench.tell(FEED, one)
    # Without an id nobody can tell whether it is another one; an id counts among the trades of its microsecond.
    assert bench.shown == [10.0, 11.0, 13.0, 13.0, 14.0]


def test_candles_are_shown_where_there_is_no_on_candle_and_garbage_on_the_feed_stops_nobody() -> None:
    bench = Bench()
    bench.tell(FEED, trade(1, 10.0))
    assert bench.tell(MARKET, Candle("sim", "A", "1m", START + 60 * SECOND, 1.0, 2.0, 0.5, 1.5, 1.0)) == []
    assert bench.tell(FEED, Unreadable("feed", "garbage", b"?")) == []
    with pytest.raises(NotImplementedError, match="Strategy must say what it wants"):
        Strategy().on_candle(Candle("sim", "A", "1m", 0, 1.0, 2.0, 0.5, 1.5, 1.0), Position())


def test_a_paused_bot_goes_on_learning_and_an_answer_that_is_no_position_stops_it() -> None:
    bench = Bench()
    bench.tell(FEED, trade(1, 10.0))
    bench.tell(subjects.COMMAND, PauseBot("b", START, "operator", ""))
    assert bench.tell(FEED, trade(2, 11.0, 1.0)) == []
    assert bench.shown == [10.0, 11.0]
    with pytest.raises(Poison, match="which is no position"):
        Bench().tell(FEED, trade(1, 10.0, 3.0))


@pytest.mark.parametrize("seed", range(12))
def test_in_lock_step_the_tape_is_that_of_the_backtest_whatever_happens(seed: int) -> None:
    """Processes die, messages come twice, late or not at all: see `tests.simulation`."""
    symbols = tuple(SymbolPlan(venue="sim", symbol=f"S{n}-USD", source="trades") for n in range(2))
    ticking, params = "tests.infra.ticking:Ticking", {"seed": seed, "often": 2, "rare": 2}
    bots = tuple(
        BotPlan(name=f"b{n}", venue="sim", symbol=f"S{n % 2}-USD", strategy=ticking, params=params) for n in range(3)
    )
    whole = Plan(symbols=symbols, bots=bots, accounts=(AccountPlan(limits=Limits(positions=2, cooldown=60)),))
    how = {"a_minute": 2.0, "same": True, "disorder": seed % 2 == 0}
    window = {subjects.feed("sim", f"S{n}-USD"): walk(seed + n, 16, **how) for n in range(2)}
    world = World(whole, [(actor, message) for _, actor, message in messages(whole, [window])], seed)
    # An hour of virtual time is many times what the most unlucky run takes; longer means that it hangs.
    run(asyncio.wait_for(world.play(lockstep=True), 3600))
    audited(world)
    assert digest_of(world.tape) == undisturbed(whole, world.market) == play_trades(whole, [window]).digest
