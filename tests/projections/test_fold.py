"""The folds alone: the same tape gives the same tables however it is cut into batches."""

from __future__ import annotations

from decimal import Decimal as D
from decimal import localcontext
from operator import mul, sub

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events import control as c
from events import market as m
from events import trading as t
from events.codec import Codec
from events.memory import MemoryTape
from events.timeframe import MINUTE
from projections.rows import moment
from projections.tables import tables
from tests.projections.history import START, History, history
from tests.projections.twin import Twin


def batches(tape: MemoryTape, cuts: list[int]) -> Twin:
    twin = Twin()
    places = sorted({cut % len(tape.entries) for cut in cuts} - {0})
    for begin, end in zip([0, *places], [*places, len(tape.entries)], strict=True):
        twin.take(tape.entries[begin:end])
    return twin


# No deadline: the first example pays for imports.
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=30))
def test_batches_of_any_size_with_a_restart_between_them_give_the_same(seed: int, cuts: list[int]) -> None:
    tape = history(seed, minutes=40)
    whole, cut = batches(tape, []), batches(tape, cuts)
    assert cut.tables == whole.tables
    assert cut.saved == whole.saved


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_money_adds_up_to_the_last_digit(seed: int) -> None:
    """Equity is cash and positions at their marks; round trips, closed and open, hold every fee."""
    found = batches(history(seed, minutes=80), []).tables

    def column(table: str, name: str) -> list[D]:
        return [row[tables()[table].columns.index(name)] for row in found[table].values()]

    with localcontext(prec=200):
        worth = sum(map(mul, column("positions", "qty"), column("positions", "mark")), D(0))
        assert column("accounts", "equity") == [column("accounts", "cash")[0] + worth]
        assert sum(column("trades", "fees") + column("positions", "fees"), D(0)) == sum(column("fills", "fee"), D(0))
        assert column("trades", "pnl") == list(map(sub, column("trades", "gross"), column("trades", "fees")))


def told() -> History:
    made = History(1)
    made.put("account.main", c.AccountOpened("main", START, "USDT", "1000"))
    return made


def test_a_round_trip_is_added_up_from_its_fills() -> None:
    made = told()
    qty = D("1.5")
    made.put("account.main", made.fill("a", "b", "X", "buy", qty, D(10), D(0)))
    made.put("account.main", made.fill("b", "b", "X", "buy", qty, D(12), D(0)))
    made.ts += 7 * MINUTE
    made.put("account.main", made.fill("c", "b", "X", "sell", D(1), D(13), D(0)))
    made.put("account.main", made.fill("d", "b", "X", "sell", D(2), D(14), D(0)))
    twin = batches(made.tape, [])
    (row,) = twin.tables["trades"].values()
    trade = dict(zip(tables()["trades"].columns, row, strict=True))
    assert (trade["side"], trade["qty"], trade["fills"]) == ("long", D(3), 4)
    assert (trade["entry_price"], trade["gross"]) == (D(11), D(8))
    assert trade["exit_price"] == D("13.66666666666666666666666667")
    assert trade["duration_us"] == 7 * MINUTE
    assert trade["pnl"] == trade["gross"] - trade["fees"]
    assert twin.tables["positions"] == {}


def test_a_fill_through_zero_ends_one_round_trip_and_begins_the_next() -> None:
    made = told()
    made.put("account.main", made.fill("a", "b", "X", "buy", D(1), D(10), D(0)))
    made.put("account.main", made.fill("b", "b", "X", "sell", D(3), D(11), D(0)))
    twin = batches(made.tape, [])
    (row,) = twin.tables["trades"].values()
    trade = dict(zip(tables()["trades"].columns, row, strict=True))
    assert (trade["side"], trade["qty"], trade["exit_price"], trade["gross"]) == ("long", D(1), D(11), D(1))
    (position,) = twin.tables["positions"].values()
    assert position[4:6] == (D(-2), D(11))


def test_equity_is_one_row_a_minute_in_which_something_changed_and_late_bars_mark_nothing() -> None:
    made = told()
    made.put("account.main", made.fill("a", "b", "X", "buy", D(1), D(10), D(0)))
    candles = [(1, 11.0), (2, 11.0), (3, 8.0)]
    for minute, close in candles:
        bar = m.Candle("sim", "X", "1m", START + minute * MINUTE, close, close, close, close, 1.0)
        made.put("market.sim.X", bar)
    made.put("market.sim.X", m.CandleBackfilled("sim", "X", "1m", START + MINUTE // 2, 99.0, 99.0, 99.0, 99.0, 1.0))
    made.put("market.sim.Y", m.Candle("sim", "Y", "1m", START + 4 * MINUTE, 1.0, 1.0, 1.0, 1.0, 1.0))
    rows = batches(made.tape, []).tables["equity"]
    minutes = [START, START + MINUTE, START + 3 * MINUTE]
    assert [key[1] for key in rows] == [moment(ts) for ts in minutes]
    last = rows["main", moment(minutes[2])]
    assert last[3] - last[2] == D("8.0")
    assert last[5] == pytest.approx(float(3 / last[4]))


def test_raw_candles_of_a_feed_are_no_candles() -> None:
    made = told()
    made.put("feed.sim.X", m.Candle("sim", "X", "1m", START, 1.0, 1.0, 1.0, 1.0, 1.0))
    found = batches(made.tape, []).tables
    assert found["candles"] == {}
    assert [row[2] for row in found["feeds"].values()] == ["candle"]


@pytest.mark.parametrize("ts", [0, 2**63 - 1, -(2**63), 10**18])
def test_what_is_refused_is_in_quarantine_whatever_its_stamp_and_address(ts: int) -> None:
    made = History(1)
    made.put("market.a.b", c.Quarantined("feed.a.b", ts, "stamp", "mad", b"words"))
    address = "main.feed.a\0\x1b.b"
    (unreadable,) = Codec().decode_or_unreadable(address, b"?").facts
    made.put("feed.a.b", unreadable)
    found = batches(made.tape, []).tables
    where = [tables()["quarantine"].columns.index(name) for name in ("ts", "raw")]
    stamp = moment(0) if ts == 0 else None
    assert [tuple(row[place] for place in where) for row in found["quarantine"].values()] == [
        (stamp, b"words"), (None, b"?"),
    ]  # fmt: skip
    assert not found["parked"]


def test_what_a_view_cannot_project_is_parked_and_the_others_go_on() -> None:
    made = told()
    seq = made.put("account.main", made.fill("unknown", "b", "X", "buy", D(1), D(10), D(0)))
    found = batches(made.tape, []).tables
    assert [(row[0], row[2]) for row in found["parked"].values()] == [(seq, "orders")]
    assert len(found["fills"]) == 1
    assert len(found["positions"]) == 1


def test_an_order_keeps_its_latest_state() -> None:
    made = told()
    what = ("main", "b", "sim", "X", START)
    made.put("account.main", t.OrderPlaced("o", *what, "buy", "stop", "entry", None, trigger=D(9)))
    twin = batches(made.tape, [])
    columns = tables()["orders"].columns

    def order() -> dict[str, object]:
        return dict(zip(columns, twin.tables["orders"]["main", "o"], strict=True))

    def next_is(*facts: t.Fill | t.OrderTriggered | t.OrderAmended) -> dict[str, object]:
        made.put("account.main", *facts)
        twin.take(made.tape.entries[-1:])
        return order()

    assert (order()["status"], order()["leaves"]) == ("open", None)
    assert next_is(t.OrderAmended("o", *what, D(4), D(8), "trail"))["trigger_price"] == D(8)
    assert next_is(t.OrderTriggered("o", *what, D(8)))["status"] == "triggered"
    partly = next_is(made.fill("o", "b", "X", "buy", D(1), D(8), D(3)))
    assert (partly["status"], partly["filled"], partly["leaves"], partly["average"]) == ("partial", D(1), D(3), D(8))
    wholly = next_is(made.fill("o", "b", "X", "buy", D(3), D(10), D(0)))
    assert (wholly["status"], wholly["filled"], wholly["average"]) == ("filled", D(4), D("9.5"))


def test_of_a_bots_row_every_column_is_the_newest() -> None:
    made = told()
    made.put("bot.b", c.BotStarted("b", "main", "sim", "X", "1m", START, "ema-cross", 1, {}))
    made.put("bot.b", t.Signal("b", "sim", "X", START, 1.0, 10.0))
    made.put("account.main", made.fill("a", "b", "X", "buy", D(1), D(10), D(0)))
    made.put("bot.b", t.Signal("b", "sim", "X", START + MINUTE, 0.5, 10.0))
    paused = made.put("bot.b", c.BotPaused("b", START + 2 * MINUTE, "lunch"))
    whole, single = batches(made.tape, []), batches(made.tape, list(range(paused)))
    assert whole.tables == single.tables
    bot = dict(zip(tables()["bots"].columns, whole.tables["bots"]["b",], strict=True))
    assert (bot["state"], bot["reason"], bot["target"], bot["position"]) == ("paused", "lunch", 0.5, D(1))
    assert (bot["ts"], bot["seq"]) == (moment(START + 2 * MINUTE), paused)
