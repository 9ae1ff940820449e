"""Sizes, limits and the kill switch, with figures worked out by hand."""

from __future__ import annotations

from decimal import Decimal, Inexact, localcontext
from typing import Any

import pytest

from actors.account.money import EXACT, affordable, fee_of, share_of
from actors.plan import Fees, FillModel, Limits, Sizing
from events import subjects, timeframe
from events.trading import OrderCancelled, OrderPlaced, RiskApproved, RiskRefused, Signal, TradingDayStarted

from .account_driver import START, SYMBOL, VENUE, Desk, text


def sized(method: str, value: str = "1", **fields: Any) -> Desk:
    return Desk(sizing=Sizing(method=method, value=Decimal(value)), **fields)


@pytest.mark.parametrize(
    ("method", "value", "target", "signal", "qty"),
    [
        ("quantity", "2.5", 1.0, {}, "2.5"),
        ("quantity", "2.5", -0.3333, {}, "0.833"),  # 0.83325 down to the lot
        ("fraction", "0.1", 1.0, {}, "3.333"),  # 1,000 at 300 = 3.3333
        ("fraction", "0.1", 0.5, {}, "1.666"),
        ("fraction", "0.1", 1.0, {"order": "limit", "limit": 250.0}, "4"),
        ("risk", "0.01", 1.0, {"stop": 293.0}, "14.285"),  # 100 / 7
        ("risk", "0.01", -1.0, {"stop": 307.0}, "14.285"),
        ("risk", "0.01", 1.0, {"trail": 7.0}, "14.285"),
        ("risk", "0.01", 1.0, {"order": "stop", "trigger": 310.0, "stop": 300.0}, "10"),
        ("all-in", "1", 1.0, {}, None),
    ],
)
def test_sizes(method: str, value: str, target: float, signal: dict[str, Any], qty: str | None) -> None:
    desk = sized(method, value)
    desk.flat(300)
    desk.want(target, **signal)
    (approved,) = desk.every(RiskApproved)
    (placed,) = desk.every(OrderPlaced)
    assert approved.qty == placed.qty
    assert (None if placed.qty is None else text(placed.qty)) == qty


def test_all_in_is_counted_at_the_fill_with_its_fee() -> None:
    desk = sized("all-in", fees=Fees(maker=Decimal(0), taker=Decimal("0.01")), symbol={"lot": Decimal(1)})
    desk.flat(100)
    desk.want(1)
    desk.flat(101)  # 10,000 / (101 x 1.01) = 98.03
    assert desk.fills() == [("entry", "buy", "98", "101")]
    assert text(desk.state.cash) == "3.02"  # 10,000 - 9,898 - 98.98


def test_all_in_over_several_bars_keeps_the_size_of_its_first_fill() -> None:
    desk = sized("all-in", fills=FillModel(slippage=Decimal(0), participation=Decimal("0.1")))
    desk.flat(100)
    desk.want(0.5)
    desk.flat(100, volume=300)
    desk.flat(50, volume=300)
    assert desk.fills() == [("entry", "buy", "30", "100"), ("entry", "buy", "20", "50")]
    assert desk.working() == []


def test_an_entry_that_became_dearer_than_the_cash_is_cut_at_its_fill() -> None:
    desk = sized("fraction", "1")
    desk.flat(100)
    desk.want(1)
    desk.flat(125)
    assert desk.fills() == [("entry", "buy", "80", "125")]
    assert [one.reason for one in desk.every(OrderCancelled)] == ["cash"]
    assert desk.working() == []


def test_exposure_above_the_equity_is_refused_counting_what_others_are_about_to_buy() -> None:
    desk = sized("fraction", "0.6")
    desk.flat(100)
    desk.want(1, "a")
    desk.want(1, "b")
    assert desk.refusal() == "cash"
    desk.want(0.5, "b")
    assert len(desk.every(RiskApproved)) == 2
    desk.flat(100)
    assert (desk.position("a"), desk.position("b")) == ("60", "30")


def test_a_short_counts_as_exposure_like_a_long() -> None:
    desk = sized("fraction", "0.6")
    desk.flat(100)
    desk.want(-1, "a")
    desk.flat(100)
    desk.want(1, "b")
    assert desk.refusal() == "cash"


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        ({"target": 1.5}, "bad-signal"),
        ({"target": float("nan")}, "bad-signal"),
        ({"target": 1.0, "order": "iceberg"}, "bad-signal"),
        ({"target": 1.0, "order": "limit"}, "bad-signal"),
        ({"target": 1.0, "order": "limit", "limit": float("inf")}, "bad-signal"),
        ({"target": 1.0, "order": "limit", "limit": 1e300}, "bad-signal"),
        ({"target": 1.0, "order": "limit", "limit": 1e-300}, "no-price"),
        ({"target": 1.0, "stop": -1.0}, "bad-signal"),
        ({"target": 1.0, "symbol": "ETH-USDT"}, "bad-signal"),
        ({"target": 1.0, "bot": "someone"}, "unknown-bot"),
        ({"target": 1.0, "stop": 100.0}, "bracket"),
        ({"target": 1.0, "take_profit": 99.0}, "bracket"),
        ({"target": -1.0, "stop": 99.0}, "bracket"),
        ({"target": 0.0001}, "size"),
        ({"target": 1e-300}, "size"),
    ],
)
def test_signals_that_cannot_be_followed_are_refused_by_a_fact(signal: dict[str, Any], reason: str) -> None:
    desk = Desk()
    desk.flat(100)
    fields = {"bot": "a", "venue": VENUE, "symbol": SYMBOL, "ts": desk.now, "price": 100.0, **signal}
    facts = desk.tell(subjects.bot("a"), desk.now, Signal(**fields))
    assert [one.reason for one in facts if isinstance(one, RiskRefused)] == [reason]
    assert desk.working() == []


def test_without_a_price_there_is_no_order() -> None:
    desk = Desk()
    desk.want(1)
    assert desk.refusal() == "no-price"


def test_orders_below_the_least_notional_are_refused() -> None:
    desk = Desk(symbol={"notional_min": Decimal(200)})
    desk.flat(100)
    desk.want(1)
    assert desk.refusal() == "notional-min"


def test_sizing_by_risk_needs_a_stop() -> None:
    desk = sized("risk", "0.01")
    desk.flat(100)
    desk.want(1)
    assert desk.refusal() == "no-stop"


def test_the_daily_loss_limit_counts_realised_and_open_losses_from_the_day_on() -> None:
    desk = Desk(limits=Limits(daily_loss=Decimal("0.01")))  # of 10,000
    desk.flat(1000)
    desk.want(1, "a")
    desk.flat(1000)
    desk.flat(950)
    desk.want(0, "a")
    desk.flat(950)  # 50 realised
    desk.want(1, "b")
    desk.flat(950)
    desk.flat(900.01)  # 49.99 open: 99.99
    desk.want(1, "c", order="limit", limit=1.0)
    assert desk.refusal() == ""
    desk.flat(900)
    desk.want(1, "c")
    assert desk.refusal() == "daily-loss"
    desk.want(0, "b")
    assert desk.working("b") == [("exit", "market", "1")]
    desk.now = START + timeframe.DAY
    desk.flat(900)  # the next day starts at 9,900
    assert text(desk.every(TradingDayStarted)[-1].equity) == "9900"
    desk.want(1, "c")
    assert desk.working("c") == [("entry", "market", "1")]


def test_the_number_of_positions_counts_those_being_opened() -> None:
    desk = Desk(limits=Limits(positions=2))
    desk.flat(100)
    for bot in ("a", "b", "c"):
        desk.want(1, bot)
    assert (desk.refusal(), desk.working("c")) == ("positions", [])
    desk.flat(100)
    desk.want(-1, "a")  # a flip opens nothing that was not there
    assert desk.working("a") == [("exit", "market", "1"), ("entry", "market", "1")]


def test_the_size_of_a_position_and_of_a_symbol() -> None:
    desk = Desk(limits=Limits(position_fraction=Decimal("0.01"), symbol_fraction=Decimal("0.015")))
    desk.flat(100)
    desk.want(1, "a")  # 100 of 10,000 is just 0.01
    assert desk.working("a") == [("entry", "market", "1")]
    desk.want(0.6, "b")
    assert desk.refusal() == "symbol-size"
    desk.want(0.5, "b")
    assert desk.working("b") == [("entry", "market", "0.5")]
    desk.flat(100)
    desk.flat(100.2)
    desk.want(1, "c")
    assert desk.refusal() == "position-size"


def test_limits_hold_at_the_fill_too() -> None:
    desk = Desk(limits=Limits(position_fraction=Decimal("0.01")))
    desk.flat(100)
    desk.want(1)
    desk.flat(125)
    assert desk.fills() == [("entry", "buy", "0.8", "125")]
    assert [one.reason for one in desk.every(OrderCancelled)] == ["position-size"]


def test_cooldown_after_a_losing_round_trip_only() -> None:
    desk = Desk(limits=Limits(cooldown=120))
    desk.flat(100)
    desk.want(1)
    desk.flat(100)
    desk.want(0)
    desk.flat(101)
    desk.want(1, stop=99.0)
    assert desk.refusal() == ""
    desk.flat(100)
    desk.flat(99)  # stopped out with a loss
    desk.flat(99)
    desk.want(1)
    assert desk.refusal() == "cooldown"
    desk.want(1, "b")
    assert desk.working("b") == [("entry", "market", "1")]
    desk.flat(99)
    desk.want(1)
    assert desk.working("a") == [("entry", "market", "1")]


def test_fees_alone_make_a_round_trip_a_loss() -> None:
    desk = Desk(limits=Limits(cooldown=60), fees=Fees())
    desk.flat(100)
    for target in (1, 0):
        desk.want(target)
        desk.flat(100)
    desk.want(1)
    assert desk.refusal() == "cooldown"


@pytest.mark.parametrize(
    ("signal", "reason"),
    [
        ({"stop": 98.0, "take_profit": 104.0}, ""),
        ({"stop": 98.0, "take_profit": 103.99}, "reward-to-risk"),
        ({"stop": 98.0}, "reward-to-risk"),
        ({"take_profit": 104.0}, "reward-to-risk"),
    ],
)
def test_reward_to_risk(signal: dict[str, Any], reason: str) -> None:
    desk = Desk(limits=Limits(reward_to_risk=Decimal(2)))
    desk.flat(100)
    desk.want(1, **signal)
    assert desk.refusal() == reason


def test_a_refused_flip_still_leaves_the_old_position() -> None:
    desk = Desk(limits=Limits(reward_to_risk=Decimal(1)))
    desk.flat(100)
    desk.want(1, stop=90, take_profit=110)
    desk.flat(100)
    desk.want(-1)
    assert desk.refusal() == "reward-to-risk"
    assert desk.working() == [("exit", "market", "1")]


def test_at_the_fill_the_room_is_what_all_positions_leave() -> None:
    desk = sized("fraction", "0.5")
    desk.flat(100)
    desk.want(1, "a")
    desk.want(-1, "b")
    desk.flat(150)  # a takes 50 for 7,500; b may take 2,500
    assert (desk.position("a"), desk.position("b")) == ("50", "-16.666")


def test_at_the_fill_a_position_counts_what_it_holds() -> None:
    desk = Desk(limits=Limits(position_fraction=Decimal("0.01")))
    desk.flat(100)
    desk.want(0.5)
    desk.flat(100)
    desk.want(1)
    desk.flat(160)  # 0.5 is worth 80 of an equity of 10,030: room for 20.3 at 160
    assert desk.fills()[1:] == [("entry", "buy", "0.126", "160")]


def test_what_can_be_paid_counts_the_fee_to_its_last_digit() -> None:
    lot, rate = Decimal("0.001"), Decimal("0.001")
    assert affordable(Decimal("100.1"), Decimal(100), rate, lot) == 1
    assert affordable(Decimal("100.09999999"), Decimal(100), rate, lot) == Decimal("0.999")
    # The fee on 1 is 0.001000006, rounded up to 0.00100001: that much is not there.
    tiny = Decimal("0.001000006")
    assert affordable(1 + tiny, Decimal(1), tiny, lot) == Decimal("0.999")
    assert affordable(Decimal(-1), Decimal(1), rate, lot) == 0


def test_money_is_rounded_in_two_places_only() -> None:
    assert fee_of(Decimal("0.000005"), Decimal("0.001")) == 0  # 5E-9: half to even
    assert fee_of(Decimal("0.000015"), Decimal("0.001")) == Decimal("0.00000002")
    assert share_of(Decimal(1), Decimal(1), Decimal(3)) == Decimal("0.33333333")
    odd = Decimal("1.00000000000000000001")
    assert share_of(odd, Decimal(3), Decimal(3)) == odd
    with localcontext(EXACT), pytest.raises(Inexact):
        Decimal("1E+60") + Decimal("1E-60")
