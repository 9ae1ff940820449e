"""Commands, days, catch-up and bad input: the account as an actor."""

from __future__ import annotations

from decimal import Decimal

import pytest

from actors.account import FILL_ASSUMPTIONS, AccountDecider, assumptions
from actors.decider import Poison
from actors.plan import AccountPlan, BotPlan, Fees, FillModel, SymbolPlan
from events import subjects, timeframe
from events.control import (
    AccountOpened,
    BotPaused,
    RestrictTrading,
    TradingReleased,
    TradingRestricted,
    Unreadable,
)
from events.market import Candle, CandleBackfilled
from events.trading import Fill, TradingDayStarted

from .account_driver import FREE, IDEAL, START, SYMBOL, VENUE, Desk


def running() -> Desk:
    """Bot a long with a bracket, bot b with a resting entry, bot c leaving a position."""
    desk = Desk()
    desk.flat(100)
    desk.want(1, "a", stop=90, take_profit=120)
    desk.want(-1, "c")
    desk.flat(100)
    desk.want(1, "b", order="limit", limit=80)
    desk.want(0, "c")
    return desk


BRACKET = [("stop-loss", "stop", "1"), ("take-profit", "limit", "1")]
ENTRY, EXIT = [("entry", "limit", "1")], [("exit", "market", "1")]


@pytest.mark.parametrize(
    ("level", "left"),
    [
        ("no-new-risk", (BRACKET, ENTRY, EXIT)),
        ("close-only", (BRACKET, [], EXIT)),
        ("cancel-all", ([], [], [])),
        ("flatten", (EXIT, [], EXIT)),
        ("no such level", (BRACKET, [], EXIT)),
    ],
)
def test_each_level_of_the_kill_switch(level: str, left: tuple[object, ...]) -> None:
    desk = running()
    desk.restrict(level)
    assert (desk.working("a"), desk.working("b"), desk.working("c")) == left
    desk.want(-1, "b")
    assert (desk.refusal(), desk.working("b")) == ("restricted", [])
    desk.want(0, "a")
    assert desk.working("a") == EXIT
    if level == "flatten":
        desk.flat(101)
        assert {desk.position(bot) for bot in "abc"} == {"0"}


def test_a_restriction_is_latched_until_it_is_released() -> None:
    desk = running()
    desk.restrict("flatten")
    desk.restrict("no-new-risk")
    assert [one.level for one in desk.every(TradingRestricted)] == ["flatten", "flatten"]
    desk.flat(100)
    desk.release()
    desk.release()
    assert len(desk.every(TradingReleased)) == 1
    desk.want(1, "a")
    assert desk.working("a") == [("entry", "market", "1")]


def test_commands_for_another_account_are_not_heard() -> None:
    desk = running()
    assert desk.tell(subjects.COMMAND, desk.now, RestrictTrading("other", desk.now, "me", "flatten", "")) == ()
    assert desk.state.restricted == ""


def test_a_paused_bot_has_no_working_entry() -> None:
    desk = running()
    desk.tell(subjects.bot("b"), desk.now, BotPaused("b", desk.now, "by hand"))
    assert (desk.working("b"), desk.working("a")) == ([], BRACKET)


def test_the_account_opens_with_its_first_price_and_counts_days_by_utc() -> None:
    desk = Desk()
    first = desk.flat(100)
    assert [type(one) for one in first] == [AccountOpened, TradingDayStarted]
    desk.now = START + timeframe.DAY - timeframe.MINUTE
    assert desk.flat(100) == ()  # closes at midnight: still the first day
    (day,) = desk.flat(100)
    assert isinstance(day, TradingDayStarted)
    assert day.day == "2024-10-05"


def test_bars_of_a_catch_up_are_dealt_with_in_one_decision_as_one_by_one() -> None:
    bars = [(100, 101, 99, 100), (100, 104, 99, 103), (103, 106, 102.5, 105), (105, 110, 104, 105), (100, 101, 90, 95)]
    one, many = Desk(fills=FillModel(participation=Decimal("0.1"))), Desk(fills=FillModel(participation=Decimal("0.1")))
    batch = []
    for desk in (one, many):
        desk.now = START + timeframe.DAY - 4 * timeframe.MINUTE
        desk.flat(100)
        desk.want(1, trail=3, take_profit=109.5)
    for o, h, l, c in bars:
        one.bar(o, h, l, c, volume=6)
        batch.append(Candle(VENUE, SYMBOL, "1m", one.now, o, h, l, c, 6.0))
        batch.append(Candle(VENUE, SYMBOL, "5m", one.now, 1, 1, 1, 1, 1.0))
    facts = many.tell(subjects.market(VENUE, SYMBOL), one.now, *batch)

    def essence(fact: object) -> object:
        if isinstance(fact, Fill):
            return fact.ts, fact.role, fact.qty, fact.price, fact.fee, fact.liquidity, fact.position, fact.cash
        return type(fact), getattr(fact, "reason", None), getattr(fact, "equity", None)

    assert [essence(fact) for fact in facts] == [essence(fact) for fact in one.facts[-len(facts) :]]
    assert [one.role for one in many.every(Fill)][:2] == ["entry", "entry"]
    assert many.position() == one.position() == "0"


def test_only_new_bars_of_the_base_timeframe_are_heard() -> None:
    desk = Desk()
    where = subjects.market(VENUE, SYMBOL)
    assert desk.tell(where, START, Candle(VENUE, SYMBOL, "5m", START, 1, 1, 1, 1, 1)) == ()
    assert desk.tell(where, START, CandleBackfilled(VENUE, SYMBOL, "1m", START, 1, 1, 1, 1, 1)) == ()
    assert desk.turns == []


@pytest.mark.parametrize("actor", [subjects.market(VENUE, SYMBOL), subjects.bot("a")])
def test_unreadable_bytes_stop_the_account(actor: str) -> None:
    desk = Desk()
    with pytest.raises(Poison, match=r"account\.main cannot go on past tape sequence 1: not JSON"):
        desk.tell(actor, START, Unreadable(f"main.{actor}.x", "not JSON", b"\xff"))


def test_an_unreadable_command_is_left_to_the_quarantine() -> None:
    desk = Desk()
    assert desk.tell(subjects.COMMAND, START, Unreadable("main.command.operator.x", "not JSON", b"\xff")) == ()
    assert desk.turns == []


def test_prices_too_far_out_for_exact_money_stop_the_account() -> None:
    desk = Desk(fills=IDEAL)
    desk.flat(100)
    desk.want(1)
    with pytest.raises(Poison, match="exact money"):
        desk.flat(1e-200)


def test_a_bot_on_a_symbol_that_is_not_there_is_an_error() -> None:
    bot = BotPlan(name="x", venue=VENUE, symbol="ETH-USDT")
    with pytest.raises(ValueError, match=r"sim\.ETH-USDT, which is not among the symbols"):
        AccountDecider(AccountPlan(), (SymbolPlan(venue=VENUE, symbol=SYMBOL),), (bot,))


def test_the_inbox_names_prices_bots_and_commands() -> None:
    symbols = (SymbolPlan(venue="v", symbol="A"), SymbolPlan(venue="v", symbol="B", source="trades"))
    bots = (BotPlan(name="x", venue="v", symbol="A"), BotPlan(name="y", venue="v", symbol="B"))
    decider = AccountDecider(AccountPlan(), symbols, bots)
    assert decider.actor == "account.main"
    assert decider.inbox == ("market.v.A.>", "feed.v.B.trade", "bot.x.>", "bot.y.>", "command.operator.>")


def test_the_assumptions_name_the_plans_figures() -> None:
    plan = AccountPlan(fees=Fees(taker=Decimal("0.00075")), fills=FillModel(participation=None))
    text_of = " ".join(assumptions(plan))
    assert "0.00075" in text_of
    assert "unbounded" in text_of
    assert "0.1 of a bar" in " ".join(FILL_ASSUMPTIONS)
    assert FREE.taker == 0
