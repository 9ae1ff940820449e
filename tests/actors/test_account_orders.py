"""Each kind of order against bars whose outcome is worked out by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from actors.account.matching import path_of
from actors.plan import Fees, FillModel
from events.market import Candle
from events.trading import Fill, OrderAmended, OrderPlaced, OrderTriggered

from .account_driver import START, SYMBOL, TENTH, VENUE, Desk, text

COSTS = Fees(maker=Decimal("0.001"), taker=Decimal("0.002"))
SLIPPING = FillModel(slippage=Decimal("0.01"), participation=None)


@pytest.mark.parametrize(
    ("bar", "path"),
    [
        ((100.0, 103.0, 98.0, 101.0), "100 98 103 101"),
        ((100, 102, 97, 101), "100 102 97 101"),
        ((100, 102, 98, 99), "100 98 102 99"),
        ((100, 100, 100, 100), "100 100 100 100"),
    ],
)
def test_the_path_goes_to_the_nearer_extreme_first_and_to_the_low_on_a_tie(
    bar: tuple[float, float, float, float], path: str
) -> None:
    found = path_of(Candle(VENUE, SYMBOL, "1m", START, *bar, 1.0))
    assert " ".join(text(price) for price in found) == path


def test_a_market_order_fills_at_the_next_open() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1)
    desk.bar(101, 105, 99, 104)
    assert desk.fills() == [("entry", "buy", "1", "101")]
    assert text(desk.state.cash) == "9899"


def test_an_order_has_no_part_in_a_bar_that_began_before_it() -> None:
    desk = Desk()
    desk.flat(100)
    desk.now += 1
    desk.want(1)
    desk.now -= 1
    desk.flat(101)
    assert desk.fills() == []
    desk.flat(102)
    assert desk.fills() == [("entry", "buy", "1", "102")]


@pytest.mark.parametrize(
    ("target", "price", "fee", "cash"),
    [(1, "101.52", "0.20304", "9898.27696"), (-1, "99.49", "0.19898", "10099.29102")],
)
def test_takers_pay_slippage_to_the_tick_against_them_and_the_taker_fee(
    target: float, price: str, fee: str, cash: str
) -> None:
    # 100.505 x 1.01 = 101.51005, and x 0.99 = 99.49995: a buyer gets the tick above, a seller the one below.
    desk = Desk(fees=COSTS, fills=SLIPPING)
    desk.flat(100)
    desk.want(target)
    desk.flat(100.505)
    (fill,) = desk.every(Fill)
    assert (text(fill.price), text(fill.fee), fill.liquidity, text(fill.cash)) == (price, fee, "taker", cash)


def test_a_resting_limit_pays_the_maker_fee_and_no_slippage() -> None:
    desk = Desk(fees=COSTS, fills=SLIPPING)
    desk.flat(100)
    desk.want(1, order="limit", limit=95.009)
    desk.bar(100, 101, 96, 98)
    assert desk.fills() == []
    desk.bar(98, 99, 95.01, 98)
    assert desk.fills() == []  # the limit was rounded down to 95.00
    desk.bar(98, 99, 94, 98)
    (fill,) = desk.every(Fill)
    assert (text(fill.price), text(fill.fee), fill.liquidity) == ("95", "0.095", "maker")


def test_a_resting_limit_that_is_gapped_over_fills_at_the_better_open() -> None:
    desk = Desk(fees=COSTS, fills=SLIPPING)
    desk.flat(100)
    desk.want(-1, order="limit", limit=105)
    desk.flat(100)
    desk.bar(107, 108, 106, 107)
    (fill,) = desk.every(Fill)
    assert (fill.side, text(fill.price), fill.liquidity) == ("sell", "107", "maker")


def test_a_limit_that_crosses_on_arrival_is_a_taker_and_never_worse_than_its_limit() -> None:
    desk = Desk(fees=COSTS, fills=SLIPPING)
    desk.flat(100)
    desk.want(1, order="limit", limit=100.5)
    desk.flat(100)
    (fill,) = desk.every(Fill)
    assert (text(fill.price), fill.liquidity) == ("100.5", "taker")  # 101 with slippage, bounded


def test_a_stop_entry_triggers_inside_the_bar_and_slips() -> None:
    desk = Desk(fills=SLIPPING)
    desk.flat(100)
    desk.want(1, order="stop", trigger=104.991)
    desk.bar(100, 104.99, 99, 101)
    assert desk.fills() == []
    desk.bar(101, 106, 100, 102)
    assert [text(one.price) for one in desk.every(OrderTriggered)] == ["105"]
    assert desk.fills() == [("entry", "buy", "1", "106.05")]


def test_a_stop_that_is_gapped_over_fills_at_the_open() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(-1, order="stop", trigger=95)
    desk.flat(100)
    desk.bar(90, 91, 89, 90)
    assert desk.fills() == [("entry", "sell", "1", "90")]


def test_a_stop_limit_rests_as_a_limit_once_triggered() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="stop-limit", trigger=105, limit=103)
    desk.bar(100, 106, 99, 105)  # triggered at 105 on the way up; 103 is not met afterwards
    assert desk.fills() == []
    assert [text(one.price) for one in desk.every(OrderTriggered)] == ["105"]
    desk.bar(105, 106, 102, 104)
    assert desk.fills() == [("entry", "buy", "1", "103")]


def test_a_stop_limit_with_room_fills_where_it_triggers() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="stop-limit", trigger=105, limit=106)
    desk.bar(100, 110, 99, 105)
    assert desk.fills() == [("entry", "buy", "1", "105")]


def test_a_stop_limit_that_is_gapped_past_its_limit_waits() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="stop-limit", trigger=105, limit=106)
    desk.bar(110, 112, 109, 111)
    assert desk.fills() == []
    desk.bar(111, 111, 104, 105)
    assert desk.fills() == [("entry", "buy", "1", "106")]


def test_a_flip_closes_first_and_then_enters() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, stop=90)
    desk.flat(100)
    desk.want(-1, stop=120)
    assert desk.working() == [("exit", "market", "1"), ("entry", "market", "1")]
    desk.flat(110)
    assert desk.fills()[1:] == [("exit", "sell", "1", "110"), ("entry", "sell", "1", "110")]
    assert (desk.position(), desk.working()) == ("-1", [("stop-loss", "stop", "1")])
    assert text(desk.state.cash) == "10120"


def test_partial_fills_take_a_tenth_of_each_bars_volume() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1, stop=90)
    desk.flat(100, volume=4)
    desk.flat(101, volume=0)
    desk.flat(102, volume=5.009)
    desk.flat(103, volume=100)
    assert desk.fills() == [
        ("entry", "buy", "0.4", "100"),
        ("entry", "buy", "0.5", "102"),
        ("entry", "buy", "0.1", "103"),
    ]
    assert [text(one.leaves) for one in desk.every(Fill)] == ["0.6", "0.1", "0"]
    assert desk.working() == [("stop-loss", "stop", "1")]
    assert [text(one.qty or Decimal(0)) for one in desk.every(OrderAmended)] == ["0.9", "1"]
    last = desk.every(Fill)[-1]
    assert text(last.average) == "101.3"  # (40 + 51 + 10.3) / 1


def test_orders_of_one_account_share_the_volume() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1, "a")
    desk.want(1, "b")
    desk.flat(100, volume=15)
    assert [(one.bot, text(one.qty)) for one in desk.every(Fill)] == [("a", "1"), ("b", "0.5")]


def test_a_flip_waits_until_the_old_position_is_gone() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1)
    desk.flat(100, volume=10)
    desk.want(-1)
    desk.flat(100, volume=6)
    assert (desk.position(), desk.working()) == ("0.4", [("exit", "market", "0.4"), ("entry", "market", "1")])
    desk.flat(100, volume=6)
    assert (desk.position(), desk.working()) == ("-0.2", [("entry", "market", "0.8")])


def test_a_signal_supersedes_the_open_entry() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="limit", limit=90)
    desk.want(1, order="limit", limit=92)
    assert desk.working() == [("entry", "limit", "1")]
    assert desk.cancels() == [("entry", "superseded")]
    desk.want(0)
    assert desk.working() == []
    assert desk.want(0) == ()


def test_realized_profit_and_average_of_a_partial_close() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(3)
    desk.want(1)
    desk.flat(3, volume=3)
    desk.flat(4, volume=100)  # 0.3 at 3 and 0.7 at 4: cost 3.7
    desk.want(0)
    desk.flat(5, volume=3)  # 0.3 of it: cost 1.11, proceeds 1.5
    desk.flat(6, volume=100)  # the rest: cost 2.59, proceeds 4.2
    realized = [text(one.realized) for one in desk.every(Fill)]
    assert realized == ["0", "0", "0.39", "1.61"]
    assert [text(one.average) for one in desk.every(Fill)] == ["3", "3.7", "3.7", "0"]
    assert text(desk.state.cash) == "10002"


def test_fills_on_trades_take_the_next_trades() -> None:
    desk = Desk(fills=TENTH, symbol={"source": "trades"})
    desk.trade(100, 1)
    desk.want(1, stop=90, take_profit=130)
    desk.trade(101, 4)
    desk.flat(150)  # the bars made of the trades are not heard
    desk.trade(102, 50)
    assert desk.fills() == [("entry", "buy", "0.4", "101"), ("entry", "buy", "0.6", "102")]
    desk.trade(89, 100)
    assert desk.fills()[2:] == [("stop-loss", "sell", "1", "89")]


def test_order_and_fill_ids_are_unique_and_derived() -> None:
    runs = []
    for _ in range(2):
        desk = Desk()
        desk.flat(100)
        desk.want(1, "a", stop=90)
        desk.want(-1, "b", take_profit=80)
        desk.flat(100)
        desk.want(-1, "a")
        desk.flat(100)
        runs.append([one.order for one in desk.every(OrderPlaced)] + [one.fill for one in desk.every(Fill)])
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == len(runs[0])


def test_a_touched_limit_fills_also_at_the_very_extreme() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="limit", limit=95, take_profit=105)
    desk.bar(100, 105, 95, 101)  # 100, 95, 105, 101 (a tie goes to the low)
    assert desk.fills() == [("entry", "buy", "1", "95"), ("take-profit", "sell", "1", "105")]
