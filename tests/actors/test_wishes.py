"""What a bot wanted and did not get is asked again; what comes too late is not learnt; raw trades pass the door."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from actors.account import equity_of
from actors.bot import BotState
from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, FillModel, Plan, SymbolPlan
from actors.roster import deciders
from actors.seat import Seat
from actors.strategies import Position, Strategy, Target
from events import subjects
from events.block import Columns, pack
from events.control import PauseBot, ReleaseTrading, RestrictTrading, ResumeBot
from events.decision import Recorded
from events.fact import Fact
from events.feed import command, observed
from events.market import Candle, Trade
from events.timeframe import DAY, MINUTE
from events.trading import Fill, RiskRefused, Signal
from tests.actors.account_driver import Desk

START = 20_000 * DAY
FEED = subjects.feed("sim", "BTC-USDT")


class Wants(Strategy):
    """Long whenever it is not; it remembers the minutes it was shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def on_candle(self, candle: Candle, position: Position) -> Target | None:
        self.shown.append((candle.ts - START) // MINUTE)
        return Target(1.0) if position.qty <= 0 else None


class Loop:
    def __init__(self) -> None:
        bot = BotPlan(name="a", venue="sim", symbol="BTC-USDT", strategy=f"{__name__}:Wants")
        symbols = (SymbolPlan(venue="sim", symbol="BTC-USDT"),)
        plan = Plan(symbols=symbols, bots=(bot,), accounts=(AccountPlan(fills=FillModel(participation=None)),))
        self.tape: list[Recorded] = []
        self.deciders = deciders(plan)
        self.loop = Lockstep(self.deciders, self.tape.append)

    def bar(self, minute: int) -> None:
        ts = START + minute * MINUTE
        self.loop.feed(FEED, observed(FEED, ts, Candle("sim", "BTC-USDT", "1m", ts, 9.0, 9.0, 9.0, 9.0, 1e6)))

    def order(self, make: Callable[[int], Fact], minute: int) -> None:
        ts = START + minute * MINUTE
        self.loop.feed(subjects.COMMAND, command(make(ts), ts))

    def bot(self) -> BotState:
        found = self.loop.seats[-1].state
        assert isinstance(found, BotState)
        return found

    def told(self) -> list[str]:
        kinds = (Signal, RiskRefused, Fill)
        return [type(fact).__name__ for entry in self.tape for fact in entry.decision.facts if isinstance(fact, kinds)]

    def check_restart(self) -> None:
        """Every state follows from the tape alone."""
        for seat in self.loop.seats:
            again = Seat(next(one for one in self.deciders if one.actor == seat.actor))
            for entry in self.tape:
                if entry.actor == seat.actor:
                    again.recall(entry)
            for entry in self.tape:
                heard = any(subjects.matches(p, entry.actor, entry.decision.kind) for p in seat.decider.inbox)
                if heard and seat.decider.hears(entry):
                    assert again.react(entry) is None
            assert again.state == seat.state, seat.actor


def restrict(level: str) -> Callable[[int], Fact]:
    return lambda ts: RestrictTrading("*", ts, "me", level, "test")


def release(ts: int) -> Fact:
    return ReleaseTrading("*", ts, "me", "test")


def test_a_refused_wish_is_asked_again() -> None:
    run = Loop()
    run.order(restrict("no-new-risk"), 0)
    run.bar(1)
    run.order(release, 1)
    for minute in range(2, 6):
        run.bar(minute)
    assert run.told() == ["Signal", "RiskRefused", "Signal", "Fill"]
    run.check_restart()


def test_after_the_kill_switch_closed_it_a_position_is_asked_for_again() -> None:
    run = Loop()
    for minute in (1, 2, 3):
        run.bar(minute)
    run.order(restrict("flatten"), 3)
    run.bar(4)
    run.order(release, 4)
    for minute in range(5, 9):
        run.bar(minute)
    assert run.told() == ["Signal", "Fill", "Fill", "Signal", "Fill"]
    run.check_restart()


@pytest.mark.parametrize(
    ("stop", "go"),
    [
        (lambda ts: PauseBot("*", ts, "me", "test"), lambda ts: ResumeBot("*", ts, "me", "test")),
        (restrict("close-only"), release),
    ],
    ids=["pause", "close-only"],
)
def test_an_entry_that_was_called_off_is_asked_for_again(
    stop: Callable[[int], Fact], go: Callable[[int], Fact]
) -> None:
    run = Loop()
    run.bar(1)
    run.order(stop, 1)
    run.order(go, 1)
    for minute in range(2, 6):
        run.bar(minute)
    assert run.told() == ["Signal", "Signal", "Fill"]
    run.check_restart()


def test_a_block_that_fills_a_hole_is_not_shown_to_the_strategy_after_newer_bars() -> None:
    run = Loop()
    for minute in (1, 2, 5):
        run.bar(minute)
    ts = np.array([START + 3 * MINUTE, START + 4 * MINUTE])
    nine = np.full(2, 9.0)
    block = next(pack("sim", "BTC-USDT", "1m", Columns(ts, nine, nine, nine, nine, nine)))
    run.loop.feed(FEED, observed(FEED, START + 5 * MINUTE + 1, block))
    run.bar(6)
    strategy = run.bot().strategy
    assert isinstance(strategy, Wants)
    assert strategy.shown == [1, 2, 5, 6]
    run.check_restart()


@pytest.mark.parametrize(
    "bad",
    [
        {"price": 0.0},
        {"price": -5.0},
        {"symbol": "ETH-USDT", "price": 7.0},
        {"ts": 10**18},
        {"ts": 5 * 10**15},
        {"qty": -1.0},
    ],
    ids=["zero", "negative", "other symbol", "year 33658", "year 2128", "negative quantity"],
)
def test_a_trade_that_the_symbol_quarantines_neither_prices_the_account_nor_stops_it(bad: dict[str, object]) -> None:
    desk = Desk(symbol={"source": "trades"})
    desk.trade(100.0, 1000.0)
    desk.want(1.0)
    desk.trade(100.0, 1000.0)
    desk.want(0.0)
    before = equity_of(desk.decider.rules, desk.state), desk.state.day_end, desk.position()
    good: dict[str, object] = {"venue": "sim", "symbol": "BTC-USDT", "ts": desk.now + 1, "price": 100.0, "qty": 9.0}
    assert desk.tell(FEED, desk.now + 1, Trade(**{**good, **bad})) == ()  # type: ignore[arg-type]
    assert (equity_of(desk.decider.rules, desk.state), desk.state.day_end, desk.position()) == before
    desk.trade(101.0, 1000.0)
    assert desk.position() == "0"
