"""Canonical bytes of a message that is one trade: different messages have different ones, and columns have the same."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import Codec
from events.decision import Decision
from events.feed import observed
from events.market import Trade
from events.tickbulk import ROWS, SIDES, trade_ids
from events.tickbytes import CAUSED, MARK, NUMBERED, named

BY = "0123456789abcdef0123456789abcdef"
TRADE = Trade("v", "S", 7, 100.5, 2.0, "buy", "12")
IDS = st.one_of(
    st.sampled_from(
        ["", "0", "00", "-0", "-1", "+1", " 1", "1_0", "٣", "²", "1e3", str(2**63 - 1), str(2**63), "9" * 25]
    ),
    st.integers(0, 10**20).map(str),
    st.text(max_size=40),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
STAMPS = st.integers(-(2**62), 2**62)


def canonical(trade: Trade, actor: str = "feed.v.S", by: str = "", ts: int = 7) -> bytes:
    return Codec().canonical(actor, Decision("", 0, by, ts, (trade,)))


def test_every_field_counts() -> None:
    others: dict[str, Any] = {
        "venue": "w",
        "symbol": "T",
        "ts": 8,
        "price": 100.25,
        "qty": 2.5,
        "side": "sell",
        "id": "13",
    }
    found = {canonical(TRADE), *(canonical(msgspec.structs.replace(TRADE, **{k: v})) for k, v in others.items())}
    found |= {canonical(TRADE, "feed.v.T"), canonical(TRADE, by=BY), canonical(TRADE, ts=8)}
    assert len(found) == 1 + len(others) + 3
    assert {one[0] for one in found} == {MARK}
    assert {len(one) for one in found} == {72, 88}


@pytest.mark.parametrize(
    ("trade", "by"),
    [
        (TRADE, "a stranger's"),
        (TRADE, BY.upper()),
        (msgspec.structs.replace(TRADE, ts=2**63), ""),
        (msgspec.structs.replace(TRADE, price=10**400), ""),
    ],
)
def test_what_has_no_such_form_is_json(trade: Trade, by: str) -> None:
    assert canonical(trade, by=by).startswith(b"[")


def test_several_trades_in_a_message_are_json() -> None:
    assert Codec().canonical("a", Decision("", 0, "", 7, (TRADE, TRADE))).startswith(b"[")


@given(IDS, IDS)
def test_names_are_one_to_one(one: str, other: str) -> None:
    try:
        found = named(one), named(other)
    except UnicodeEncodeError:
        return  # a half of a pair of surrogates: no text that a message could hold
    assert (found[0] == found[1]) == (one == other)
    flag, name = found[0]
    assert len(name) == 16
    if flag == NUMBERED:
        assert str(int.from_bytes(name[:8], "little")) == one
        assert name[8:] == bytes(8)


def test_flags_tell_numbers_and_causes_apart() -> None:
    text = msgspec.structs.replace(TRADE, id="x")
    marks = [int.from_bytes(canonical(one, by=by)[:8], "little") for one in (TRADE, text) for by in ("", BY)]
    assert marks == [MARK + 256 * flags for flags in (NUMBERED, NUMBERED + CAUSED, 0, CAUSED)]


@given(st.lists(st.tuples(STAMPS, FLOATS, FLOATS, st.sampled_from([-1, 0, 1]), IDS), max_size=30), st.booleans())
def test_columns_have_the_ids_of_messages(rows: list[tuple[int, float, float, int, str]], numbered: bool) -> None:
    rows = [(*row[:4], str(n) if numbered else row[4].encode(errors="replace").decode()) for n, row in enumerate(rows)]
    assert_same(rows)


@pytest.mark.parametrize("odd", ["", "00", "01", "-1", "٣", str(2**63), str(2**63 - 1), "0", "9" * 18, "1" + "0" * 18])
def test_one_odd_name_among_numbers(odd: str) -> None:
    assert_same([(n, 1.0, 1.0, 0, name) for n, name in enumerate(["10", odd, "9", "100"])])


def test_long_columns_with_other_names_in_one_piece_alone() -> None:
    chance = np.random.default_rng(4)
    rows = [
        (n, float(chance.random()), float(n), int(chance.integers(-1, 2)), str(n) if n < ROWS or n % 2 else f"t{n}")
        for n in range(ROWS + 100)
    ]
    assert_same(rows)


def assert_same(rows: list[tuple[int, float, float, int, str]]) -> None:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    kinds = (np.int64, np.float64, np.float64, np.int8)
    arrays: Any = [np.array(column, kind) for column, kind in zip(columns, kinds, strict=False)]
    found = trade_ids("feed.v.S", "v", "S", *arrays, list(columns[4]))
    assert found.shape == (len(rows), 16)
    for (ts, price, qty, side, name), own in zip(rows, found, strict=True):
        trade = Trade("v", "S", ts, price, qty, SIDES[side], name)
        assert own.tobytes().hex() == observed("feed.v.S", ts, trade).id
