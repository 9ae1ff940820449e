"""Columns of candles to blocks that fit a message, and back, to the last bit."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from events.block import ROWS_MAX, Columns, candles, pack, unpack
from events.codec import Codec
from events.decision import Decision

MINUTE = 60_000_000


def columns(rows: int, counted: bool = True) -> Columns:
    random = np.random.default_rng(rows)
    ts = 1_700_000_040_000_000 + np.arange(rows, dtype=np.int64) * MINUTE
    o, h, l, c, v = random.normal(0, 1, (5, rows)) * 10.0 ** random.integers(-300, 300, (5, rows))
    return Columns(ts, o, h, l, c, v, random.integers(0, 9, rows) if counted else None)


def same(one: Columns, other: Columns) -> bool:
    names = ("ts", "open", "high", "low", "close", "volume")
    if any(getattr(one, name).tobytes() != getattr(other, name).tobytes() for name in names):
        return False
    return (one.count is None) == (other.count is None) and (
        one.count is None or other.count is None or one.count.tolist() == other.count.tolist()
    )


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("rows", [1, 2, ROWS_MAX - 1, ROWS_MAX, ROWS_MAX + 1, 2 * ROWS_MAX + 5])
def test_what_is_packed_is_unpacked_through_the_codec(rows: int, counted: bool) -> None:
    made = columns(rows, counted)
    start = 0
    for block in pack("v", "s", "1m", made):
        body = Codec().encode(Decision("i" * 32, 0, "", 1, (block,)))
        assert len(body) < 900_000  # the bus takes 1,048,576 with headers
        (found,) = Codec().decode(body).facts
        assert found == block
        assert same(unpack(block), made[start : start + block.rows])
        start += block.rows
    assert start == rows


def test_no_rows_are_no_block() -> None:
    assert list(pack("v", "s", "1m", columns(1)[0:0])) == []


def test_columns_of_any_layout_are_packed() -> None:
    made = columns(10)
    strided = made[::2]
    assert same(unpack(next(pack("v", "s", "1m", strided))), strided)
    assert same(unpack(next(pack("v", "s", "1m", made[made.ts > made.ts[3]]))), made[4:])


@pytest.mark.parametrize("name", ["ts", "open", "high", "low", "close", "volume", "count"])
def test_a_column_of_another_length_is_named(name: str) -> None:
    block = next(pack("v", "s", "1m", columns(5)))
    for data in (b"", getattr(block, name)[:-1], getattr(block, name) * 2):
        with pytest.raises(ValueError, match=f"column `{name}` holds {len(data)} bytes, not 8 x 5 rows"):
            unpack(msgspec.structs.replace(block, **{name: data}))


def test_rows_as_facts() -> None:
    made = columns(3)
    found = list(candles("v", "s", "1m", made))
    assert [fact.ts for fact in found] == made.ts.tolist()
    assert [fact.low for fact in found] == made.low.tolist()
    assert made.count is not None
    assert [fact.count for fact in found] == made.count.tolist()
    assert [fact.count for fact in candles("v", "s", "1m", columns(2, counted=False))] == [None, None]
