"""Rows written as CSV in C, against psycopg's own writer, and the quick look at facts, against the thorough one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import control as c
from events import market as m
from events import trading as t
from events.fact import Fact
from projections.csv import lines
from projections.plain import check, doubtful
from projections.tables import Table, tables
from projections.writing import Writer

TYPES = {"id": "int8", "a": "text", "b": "numeric", "c": "float8", "d": "timestamptz", "e": "bool", "f": "text[]"}
TABLE = Table("odd", tuple(TYPES), tuple(TYPES.values()), ("id",), "log")

TEXTS = [
    "",
    "null",
    '"',
    '""',
    "a,b",
    "a\tb",
    "a\nb",
    "\r",
    "\\",
    "\\N",
    "\\.",
    '\\"',
    "'",
    "é€😀",
    "[1]",
    "]\n[",
    " x ",
    "NaN",
]
NUMBERS = ["0", "-0", "0E-8", "-0.00", "1E+3", "1.10", "123456789.123456789123456789", "1E-30", "9" * 40, "NaN", "-1"]
FLOATS = [0.0, -0.0, 1.5, 1e300, 5e-324, 0.1, 1 / 3, -2.5e-7, 123456789.123456789, 1e16, 1e22, 9007199254740993.0]
NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
MOMENTS = [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(milliseconds=50), datetime.min.replace(tzinfo=UTC)]


def odd_rows(seed: int) -> list[tuple[Any, ...]]:
    chance = Random(seed)

    def maybe(values: list[Any]) -> Any:
        return chance.choice([*values, None])

    return [
        (number, chance.choice(TEXTS), maybe([Decimal(n) for n in NUMBERS]), maybe(FLOATS), maybe(MOMENTS),
         maybe([True, False]), chance.choices(TEXTS, k=chance.randrange(4)))
        for number in range(2_000)
    ]  # fmt: skip


async def copied(dsn: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Each row by itself, the way the writer chooses for it."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(
            "CREATE TEMP TABLE odd (id int8, a text, b numeric, c float8, d timestamptz, e bool, f text[])"
        )
        writer = Writer(connection)
        for row in rows:
            await writer._copy("odd", TABLE, [row])
        return await (
            await connection.execute("SELECT id, a, b::text, c::text, d, e, f FROM odd ORDER BY id")
        ).fetchall()


async def test_csv_and_psycopgs_writer_write_the_same(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = odd_rows(1)
    assert 300 < sum(lines(TABLE, [row]) is not None for row in rows) < len(rows)
    one = await copied(postgres_dsn, rows)
    monkeypatch.setattr("projections.csv.lines", lambda table, rows: None)
    assert one == await copied(postgres_dsn, rows)
    assert [row[:2] for row in one] == [row[:2] for row in rows]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_floats_that_json_does_not_have_are_left_to_psycopg(value: float) -> None:
    row = (1, "a", None, value, None, None, [])
    assert lines(TABLE, [row]) is None
    assert lines(TABLE, [(*row[:3], 1.0, *row[4:])]) == b'1,"a",null,1.0,null,null,"{}"\n'[:-1]


def test_tables_with_bytes_and_json_are_left_to_psycopg() -> None:
    left = {name for name, table in tables().items() if {"bytea", "jsonb"} & set(table.types)}
    assert left == {"quarantine", "bots", "sessions", "checkpoints"}
    for name in left:
        assert lines(tables()[name], [(1,)]) is None


LARGE = st.sampled_from([0, -1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 10**30])
TEXT = st.sampled_from(["", "a", "a\0", "\0"])
NUMBER = st.sampled_from([Decimal(n) for n in ("1", "1E+999", "1E+1000", "1E-999", "1E-1000", "0")])
FACTS = st.one_of(
    st.builds(m.Candle, TEXT, TEXT, TEXT, LARGE, *[st.just(1.0)] * 5, st.one_of(st.none(), LARGE)),
    st.builds(m.Trade, TEXT, TEXT, LARGE, st.just(1.0), st.just(1.0), TEXT, TEXT),
    st.builds(m.GapFound, TEXT, TEXT, TEXT, LARGE, LARGE, LARGE),
    st.builds(t.RiskApproved, TEXT, TEXT, TEXT, TEXT, LARGE, TEXT, st.one_of(st.none(), NUMBER)),
    st.builds(t.OrderTriggered, TEXT, TEXT, TEXT, TEXT, TEXT, LARGE, NUMBER),
    st.builds(t.Signal, TEXT, TEXT, TEXT, LARGE, st.just(1.0), st.just(1.0), reasons=st.tuples(TEXT, TEXT)),
    st.builds(c.SessionStarted, LARGE, st.dictionaries(TEXT, TEXT), TEXT),
)  # fmt: skip


@given(FACTS)
def test_no_fact_that_cannot_be_held_is_overlooked(fact: Fact) -> None:
    try:
        check(fact)
    except ValueError:
        assert doubtful(type(fact))(fact)


def test_of_ordinary_facts_none_is_doubtful() -> None:
    book = m.Book("v", "s", 1, ((1.0, 2.0),), ())
    signal = t.Signal("b", "v", "s", 1, 1.0, 1.0, reasons=("up",))
    assert not any(doubtful(type(fact))(fact) for fact in (book, signal, m.Candle("v", "s", "1m", 1, *[1.0] * 5)))
