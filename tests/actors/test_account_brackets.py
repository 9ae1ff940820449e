"""Brackets and trailing stops, partial fills and resizing, worked out by hand."""

from __future__ import annotations

from decimal import Decimal

from events.trading import Fill, OrderAmended, OrderPlaced

from .account_driver import TENTH, Desk, text


def test_a_bracket_covers_the_position_and_the_target_cancels_the_stop() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, stop=95, take_profit=110)
    assert desk.working() == [("entry", "market", "1")]
    desk.flat(100)
    assert desk.working() == [("stop-loss", "stop", "1"), ("take-profit", "limit", "1")]
    desk.bar(100, 111, 99, 108)
    assert desk.fills()[1:] == [("take-profit", "sell", "1", "110")]
    assert desk.working() == []
    assert desk.cancels() == [("stop-loss", "oco")]
    assert text(desk.state.cash) == "10010"


def test_a_bracket_works_for_the_rest_of_the_bar_that_filled_its_entry() -> None:
    # The path is 100, 98, 106, 101. Entered at 104 on the way up: the low lies behind, the target 105 ahead.
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="stop", trigger=104, stop=99, take_profit=105)
    desk.bar(100, 106, 98, 101)
    assert desk.fills() == [("entry", "buy", "1", "104"), ("take-profit", "sell", "1", "105")]


def test_a_stop_behind_the_entry_is_met_only_on_the_way_back() -> None:
    # The path is 100, 98, 106, 99: after 106 the price falls to 99 and meets the stop at 100.5.
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="stop", trigger=104, stop=100.5, take_profit=120)
    desk.bar(100, 106, 98, 99)
    assert desk.fills() == [("entry", "buy", "1", "104"), ("stop-loss", "sell", "1", "100.5")]


def test_a_trailing_stop_follows_the_path_and_says_so_once_a_bar() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, trail=3)
    desk.bar(100, 104, 99, 103)  # 100, 99, 104, 103: the stop goes from 97 to 101
    assert [text(one.trigger or Decimal(0)) for one in desk.every(OrderAmended)] == ["101"]
    desk.bar(103, 106, 102.5, 105)  # 103, 102.5, 106, 105: to 103
    assert [text(one.trigger or Decimal(0)) for one in desk.every(OrderAmended)] == ["101", "103"]
    desk.bar(105, 110, 104, 105)  # 105, 104, 110 (stop at 107), down to 105
    assert desk.fills()[1:] == [("trailing", "sell", "1", "107")]
    assert desk.working() == []


def test_a_trailing_stop_of_a_short_mirrors() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(-1, trail=3)
    desk.bar(100, 101, 95, 96)  # 100, 101, 95 (stop at 98), 96
    desk.bar(96, 99, 95.5, 96)
    assert desk.fills()[1:] == [("trailing", "buy", "1", "98")]
    assert text(desk.state.cash) == "10002"


def test_a_stop_that_finds_too_little_volume_goes_on_at_market() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1, stop=95, take_profit=110)
    desk.flat(100)
    desk.bar(96, 97, 94, 94.5, volume=3)
    assert desk.working() == [("stop-loss", "stop", "0.7")]
    desk.bar(94, 112, 93, 111, volume=100)
    assert desk.fills()[1:] == [("stop-loss", "sell", "0.3", "95"), ("stop-loss", "sell", "0.7", "94")]
    assert desk.cancels() == [("take-profit", "oco")]


def test_a_partly_filled_target_leaves_a_smaller_stop() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1, stop=95, take_profit=110)
    desk.flat(100)
    desk.bar(109, 111, 108, 109, volume=4)
    assert desk.working() == [("stop-loss", "stop", "0.6"), ("take-profit", "limit", "0.6")]
    desk.bar(100, 101, 94, 95, volume=100)
    assert desk.fills()[1:] == [("take-profit", "sell", "0.4", "110"), ("stop-loss", "sell", "0.6", "95")]
    assert (desk.position(), desk.working()) == ("0", [])


def test_the_same_target_again_changes_nothing_but_may_move_the_bracket() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, stop=90, take_profit=120)
    desk.flat(100)
    assert desk.want(1) == ()
    assert desk.want(1, stop=90) == ()
    desk.want(1, stop=95)
    prices = [(one.role, one.trigger or one.limit) for one in desk.every(OrderPlaced)[-2:]]
    assert prices == [("stop-loss", Decimal(95)), ("take-profit", Decimal(120))]
    assert desk.working() == [("stop-loss", "stop", "1"), ("take-profit", "limit", "1")]


def test_a_smaller_target_reduces_and_a_larger_one_adds() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, stop=50)
    desk.flat(100)
    desk.want(0.5)
    desk.flat(110)
    assert desk.fills()[1:] == [("exit", "sell", "0.5", "110")]
    assert desk.working() == [("stop-loss", "stop", "0.5")]
    desk.want(0.8)
    desk.flat(120)
    assert desk.fills()[2:] == [("entry", "buy", "0.3", "120")]
    assert desk.working() == [("stop-loss", "stop", "0.8")]
    last = desk.every(Fill)[-1]
    assert text(last.average) == "107.5"  # (50 + 36) / 0.8


def test_calling_an_exit_back_keeps_the_position() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1)
    desk.flat(100)
    desk.want(0)
    desk.flat(100, volume=3)
    desk.want(1, stop=90)
    assert (desk.position(), desk.working()) == ("0.7", [("stop-loss", "stop", "0.7")])


def test_a_bracket_that_closes_the_position_ends_the_rest_of_its_entry() -> None:
    desk = Desk(fills=TENTH)
    desk.flat(100)
    desk.want(1, order="limit", limit=98, take_profit=101)
    desk.bar(100, 100, 97, 99, volume=4)
    assert desk.working() == [("entry", "limit", "0.6"), ("take-profit", "limit", "0.4")]
    desk.bar(99, 102, 99, 101, volume=100)
    assert (desk.position(), desk.working()) == ("0", [])
    assert desk.cancels() == [("entry", "bracket-closed")]
