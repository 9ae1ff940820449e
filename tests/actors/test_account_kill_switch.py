"""Each cell of the tables in the README of the account: what a level does to what is there, and lets through."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from actors.account.book import LEVELS
from actors.plan import FillModel
from events import subjects, timeframe
from events.control import (
    PauseBot,
    ReleaseTrading,
    RestrictTrading,
    SessionResumed,
    StopSession,
    TradingReleased,
    TradingRestricted,
)
from events.trading import OrderAmended

from .account_driver import Desk

STOP, TARGET, TRAIL = ("stop-loss", "stop", "1"), ("take-profit", "limit", "1"), ("trailing", "trailing", "1")
GOING = ("exit", "market", "1")
EVERY = LEVELS[1:]
SOME = FillModel(slippage=Decimal(0), participation=Decimal("0.5"))


def long(desk: Desk, **fields: Any) -> Desk:
    desk.flat(100)
    desk.want(1, **fields)
    desk.flat(100)
    return desk


def an_entry(desk: Desk) -> None:
    desk.flat(100)
    desk.want(1, order="limit", limit=80)


def a_half_filled_entry(desk: Desk) -> None:
    desk.flat(100)
    desk.want(1, stop=90)
    desk.flat(100, volume=1)


def a_bracket(desk: Desk) -> None:
    long(desk, stop=90, take_profit=120)


def a_trail(desk: Desk) -> None:
    long(desk, trail=10)


def a_naked_position(desk: Desk) -> None:
    long(desk)


def a_short(desk: Desk) -> None:
    desk.flat(100)
    desk.want(-1, stop=110)
    desk.flat(100)


def a_stop_half_out(desk: Desk) -> None:
    long(desk, stop=90, take_profit=120)
    desk.flat(89, volume=1)


def on_its_way_out(desk: Desk) -> None:
    long(desk, stop=90)
    desk.want(0)


def a_part_on_its_way_out(desk: Desk) -> None:
    long(desk, stop=90)
    desk.want(0.4)


ENTRY, HALF = ("entry", "limit", "1"), ("entry", "market", "0.5")
HALF_STOP, HALF_OUT = ("stop-loss", "stop", "0.5"), ("stop-loss", "stop", "0.5")
PART = ("exit", "market", "0.6")

STANDING: list[tuple[Any, dict[str, list[tuple[str, str, str]]]]] = [
    (an_entry, {"no-new-risk": [ENTRY], "close-only": [], "cancel-all": [], "flatten": []}),
    (a_half_filled_entry, {"no-new-risk": [HALF, HALF_STOP], "close-only": [HALF_STOP], "cancel-all": [],
                           "flatten": [("exit", "market", "0.5")]}),
    (a_bracket, {"no-new-risk": [STOP, TARGET], "close-only": [STOP, TARGET], "cancel-all": [], "flatten": [GOING]}),
    (a_trail, {"no-new-risk": [TRAIL], "close-only": [TRAIL], "cancel-all": [], "flatten": [GOING]}),
    (a_naked_position, {"no-new-risk": [], "close-only": [], "cancel-all": [], "flatten": [GOING]}),
    (a_short, {"no-new-risk": [STOP], "close-only": [STOP], "cancel-all": [], "flatten": [GOING]}),
    (a_stop_half_out, {"no-new-risk": [HALF_OUT], "close-only": [HALF_OUT], "cancel-all": [],
                       "flatten": [("exit", "market", "0.5")]}),
    (on_its_way_out, {"no-new-risk": [GOING], "close-only": [GOING], "cancel-all": [], "flatten": [GOING]}),
    (a_part_on_its_way_out, {"no-new-risk": [STOP, PART], "close-only": [STOP, PART], "cancel-all": [],
                             "flatten": [GOING]}),
]  # fmt: skip


def desk_of(make: Any) -> Desk:
    desk = Desk(fills=SOME)
    make(desk)
    return desk


@pytest.mark.parametrize("level", EVERY)
@pytest.mark.parametrize(("make", "left"), STANDING, ids=lambda one: getattr(one, "__name__", ""))
def test_what_stands(make: Any, left: dict[str, list[tuple[str, str, str]]], level: str) -> None:
    desk = desk_of(make)
    held = desk.position()
    desk.restrict(level)
    assert desk.working() == left[level]
    assert desk.position() == held, "nothing is filled before a price comes"
    again = desk.restrict(level)
    assert [type(fact) for fact in again] == [TradingRestricted], "the same command again does nothing twice"
    assert desk.working() == left[level]
    if level == "flatten":
        desk.flat(100)
        assert (desk.position(), desk.working()) == ("0", [])


@pytest.mark.parametrize("level", ["no-new-risk", "close-only"])
@pytest.mark.parametrize(("price", "role"), [(85, "stop-loss"), (125, "take-profit")])
def test_brackets_go_on_protecting(level: str, price: float, role: str) -> None:
    desk = desk_of(a_bracket)
    desk.restrict(level)
    desk.flat(price)
    assert desk.position() == "0"
    assert desk.fills()[-1][0] == role


def test_a_trail_goes_on_following() -> None:
    desk = desk_of(a_trail)
    desk.restrict("close-only")
    desk.flat(130)
    assert desk.every(OrderAmended)[-1].trigger == 120


def test_an_entry_that_works_on_under_no_new_risk_gets_its_bracket() -> None:
    desk = Desk()
    desk.flat(100)
    desk.want(1, order="limit", limit=80, stop=70, take_profit=120)
    desk.restrict("no-new-risk")
    desk.flat(79)
    assert desk.working() == [STOP, TARGET]


WANTED: list[tuple[str, Any, float, dict[str, Any], str, list[tuple[str, str, str]]]] = [
    ("enter", lambda desk: desk.flat(100), 1, {}, "restricted", []),
    ("enter with a limit", lambda desk: desk.flat(100), -1, {"order": "limit", "limit": 120}, "restricted", []),
    ("increase", lambda desk: (desk.flat(100), desk.want(0.5, stop=90), desk.flat(100)), 1, {}, "restricted",
     [("stop-loss", "stop", "0.5")]),
    ("flip", a_bracket, -1, {}, "restricted", [GOING]),
    ("close", a_bracket, 0, {}, "", [GOING]),
    ("reduce", a_bracket, 0.4, {}, "", [STOP, TARGET, PART]),
    ("move the exits", a_bracket, 1, {"stop": 95.0}, "", [STOP, TARGET]),
    ("stay after asking out", on_its_way_out, 1, {}, "restricted", [GOING]),
    ("more again after asking for less", a_part_on_its_way_out, 1, {}, "restricted", [STOP, PART]),
]  # fmt: skip


@pytest.mark.parametrize("level", ["no-new-risk", "close-only"])
@pytest.mark.parametrize(
    ("what", "make", "target", "fields", "refused", "left"), WANTED, ids=[one[0] for one in WANTED]
)
def test_what_bots_may_still_want(
    what: str, make: Any, target: float, fields: dict[str, Any], refused: str, left: list[Any], level: str
) -> None:
    desk = desk_of(make)
    desk.restrict(level)
    desk.want(target, **fields)
    assert (desk.refusal(), desk.working()) == (refused, left)


@pytest.mark.parametrize(("target", "refused", "left"), [
    (1, "", []), (-1, "restricted", [GOING]), (0, "", [GOING]), (0.4, "", [PART]),
])  # fmt: skip
def test_after_all_is_cancelled_bots_may_still_leave(target: float, refused: str, left: list[Any]) -> None:
    desk = desk_of(a_bracket)
    desk.restrict("cancel-all")
    desk.want(target)
    assert (desk.refusal(), desk.working()) == (refused, left)


def test_after_all_is_cancelled_a_bot_may_protect_itself_again() -> None:
    desk = desk_of(a_bracket)
    desk.restrict("cancel-all")
    desk.want(1, stop=95.0)
    assert desk.working() == [STOP]
    desk.restrict("no-new-risk")
    assert desk.working() == [STOP], "a lower level does nothing to what came since"


@pytest.mark.parametrize("target", [1, 0.4, -1])
def test_nothing_calls_a_position_back_that_is_being_flattened(target: float) -> None:
    desk = desk_of(a_bracket)
    desk.restrict("flatten")
    desk.want(target)
    assert (desk.refusal(), desk.working()) == ("restricted", [GOING])


@pytest.mark.parametrize("first", EVERY)
@pytest.mark.parametrize("second", EVERY)
def test_levels_only_rise_and_only_a_release_lifts_them(first: str, second: str) -> None:
    desk = desk_of(a_bracket)
    desk.restrict(first)
    before = desk.working()
    desk.restrict(second)
    higher = max(first, second, key=EVERY.index)
    assert [one.level for one in desk.every(TradingRestricted)] == [first, higher]
    assert desk.state.restricted == higher
    if EVERY.index(second) < EVERY.index(first):
        assert desk.working() == before
    desk.release()
    assert desk.state.restricted == ""
    assert desk.release() == (), "there is nothing more to lift"
    assert len(desk.every(TradingReleased)) == 1


def test_a_command_stamped_in_the_future_works_at_the_next_price() -> None:
    """A feed's mad stamp may have been the newest one when the command was given."""
    desk = desk_of(a_bracket)
    far = desk.now + 10_000 * timeframe.DAY
    desk.tell(subjects.COMMAND, far, RestrictTrading("*", far, "me", "flatten", ""))
    desk.flat(100)
    assert desk.position() == "0"


def test_a_restriction_before_any_price_holds() -> None:
    desk = Desk()
    desk.restrict("close-only")
    desk.flat(100)
    desk.want(1)
    assert (desk.refusal(), desk.working()) == ("restricted", [])


def stop(desk: Desk, orders: str) -> Any:
    return desk.tell(subjects.COMMAND, desk.now, StopSession(desk.now, "me", "", orders))


def resume(desk: Desk) -> Any:
    return desk.tell(subjects.COMMAND, desk.now, SessionResumed(desk.now, "me"))


@pytest.mark.parametrize(("orders", "entries"), [("leave", [ENTRY]), ("cancel", [])])
def test_the_end_of_a_session_leaves_or_cancels_working_entries(orders: str, entries: list[Any]) -> None:
    desk = desk_of(an_entry)
    stop(desk, orders)
    assert desk.working() == entries
    assert desk.cancels() == [("entry", "session-stopped")] * (1 - len(entries))


@pytest.mark.parametrize("orders", ["leave", "cancel"])
@pytest.mark.parametrize("make", [a_bracket, a_trail, on_its_way_out, a_stop_half_out])
def test_the_end_of_a_session_leaves_what_takes_risk_away(make: Any, orders: str) -> None:
    desk = desk_of(make)
    before = desk.working()
    assert stop(desk, orders) == ()
    assert desk.working() == before


def test_nothing_is_entered_while_a_session_ends() -> None:
    desk = desk_of(a_bracket)
    stop(desk, "leave")
    desk.want(1, "b")
    assert (desk.refusal(), desk.working("b")) == ("stopping", [])
    desk.want(0)
    assert desk.working() == [GOING], "the way out is open"
    resume(desk)
    desk.want(1, "b")
    assert desk.working("b") == [("entry", "market", "1")]


def test_a_restriction_outlives_the_session() -> None:
    desk = desk_of(a_bracket)
    desk.restrict("close-only")
    stop(desk, "cancel")
    resume(desk)
    desk.want(1, "b")
    assert desk.refusal() == "restricted"


def test_commands_of_before_accounts_heard_of_stops_change_nothing() -> None:
    desk = desk_of(an_entry)
    turns = len(desk.turns)
    assert stop(desk, "") == ()
    assert desk.tell(subjects.COMMAND, desk.now, PauseBot("*", desk.now, "me", "")) == ()
    assert len(desk.turns) == turns, "not even heard"
    assert desk.tell(subjects.COMMAND, desk.now, ReleaseTrading("*", desk.now, "me", "")) == ()
