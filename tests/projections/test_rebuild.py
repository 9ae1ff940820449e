"""A rebuild fills tables without keys: they must become the tables that are kept up row by row, to the last index."""

from __future__ import annotations

import logging
from decimal import Decimal

import psycopg
import pytest

from events import control as c
from events import market as m
from events import trading as t
from events.memory import MemoryTape
from events.timeframe import MINUTE
from projections import writing
from projections.shell import project_to_end, rebuild, table_hashes
from projections.statements import HEAPS
from tests.projections.history import START, History, history

SHAPE = (
    "SELECT 'column', c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull::text"
    " FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = to_regnamespace(%s)"
    " AND a.attnum > 0 AND c.relkind IN ('r', 'v')"
    " UNION ALL SELECT 'index', tablename, indexname, regexp_replace(indexdef, ' ON .*USING', ' USING'), ''"
    " FROM pg_indexes WHERE schemaname = %s"
    " UNION ALL SELECT 'constraint', conrelid::regclass::text, conname::text, pg_get_constraintdef(oid), contype::text"
    " FROM pg_constraint WHERE connamespace = to_regnamespace(%s) AND contype <> 'n'"
    " UNION ALL SELECT 'view', viewname, '', regexp_replace(definition, %s, '', 'g'), '' FROM pg_views"
    " WHERE schemaname = %s ORDER BY 1, 2, 3"
)


def shape(dsn: str, schema: str) -> list[tuple[str, ...]]:
    with psycopg.connect(dsn) as connection:
        connection.execute(f"SET search_path TO {schema}".encode())
        values = (schema, schema, schema, rf"\m{schema}\.", schema)
        return connection.execute(SHAPE.encode(), values).fetchall()


async def test_the_tables_of_a_rebuild_have_the_same_shape(postgres_dsn: str) -> None:
    tape = history(30, minutes=10)
    await project_to_end(postgres_dsn, tape, schema="kept_up")
    await rebuild(postgres_dsn, tape, schema="rebuilt")
    expected = shape(postgres_dsn, "kept_up")
    assert {row[0] for row in expected} == {"column", "index", "constraint", "view"}
    assert {row[1] for row in expected if row[2].endswith("_pkey")} >= set(HEAPS)
    assert shape(postgres_dsn, "rebuilt") == expected


@pytest.mark.parametrize(("seed", "batch"), [(31, 1), (32, 3), (33, 17), (34, 100), (35, 10_000)])
async def test_a_rebuild_in_batches_of_any_size_gives_the_same_rows(postgres_dsn: str, seed: int, batch: int) -> None:
    tape = history(seed, minutes=20)
    await project_to_end(postgres_dsn, tape, schema="kept_up", batch=7)
    report = await rebuild(postgres_dsn, tape, schema="rebuilt", batch=batch)
    assert report.at == report.entries == len(tape.entries)
    assert report.facts == sum(len(entry.decision.facts) for entry in tape.entries)
    assert await table_hashes(postgres_dsn, schema="rebuilt") == await table_hashes(postgres_dsn, schema="kept_up")
    longer = history(seed, minutes=30)
    for schema in ("rebuilt", "kept_up"):
        await project_to_end(postgres_dsn, longer, schema=schema, batch=50)
    assert await table_hashes(postgres_dsn, schema="rebuilt") == await table_hashes(postgres_dsn, schema="kept_up")


async def same_as_kept_up(dsn: str, tape: MemoryTape, batch: int) -> None:
    await project_to_end(dsn, tape, schema="kept_up", batch=1)
    await rebuild(dsn, tape, schema="rebuilt", batch=batch)
    assert await table_hashes(dsn, schema="rebuilt") == await table_hashes(dsn, schema="kept_up")


def opened(seed: int) -> History:
    made = History(seed)
    made.put("account.main", c.AccountOpened("main", START, "USDT", "100000"))
    return made


async def test_an_order_whose_id_comes_again_after_its_end_has_the_newer_row(postgres_dsn: str) -> None:
    made = opened(36)
    what = ("main", "b", "sim", "X", START)
    for number in range(4):
        qty = Decimal(number + 1)
        made.put("account.main", t.OrderPlaced("again", *what, "buy", "limit", "entry", qty))
        made.put("account.main", t.OrderCancelled("again", *what, f"reason {number}"))
    made.put("account.main", t.OrderPlaced("again", *what, "buy", "limit", "entry", Decimal(9)))
    await same_as_kept_up(postgres_dsn, made.tape, batch=1)
    with psycopg.connect(postgres_dsn) as connection:
        row = connection.execute("SELECT qty, status FROM rebuilt.orders").fetchall()
    assert row == [(Decimal(9), "open")]


async def test_a_minute_of_equity_that_is_told_again_much_later_has_the_newer_row(postgres_dsn: str) -> None:
    made = opened(37)
    for minute in (0, 1, 300, 0, 600, 1, 600):
        made.ts = START + minute * MINUTE
        order = f"o{len(made.tape.entries)}"
        made.put("account.main", made.fill(order, "b", "X", "buy", Decimal(1), Decimal(10 + minute), Decimal(0)))
    await same_as_kept_up(postgres_dsn, made.tape, batch=1)


async def test_many_late_candles_end_the_filling_early(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LATE_MAX", 3)
    made = opened(38)
    for number in range(40):
        ts = START + (number if number % 3 else 39 - number) * MINUTE
        made.put("market.sim.X", m.CandleBackfilled("sim", "X", "1m", ts, 1.0, 2.0, 0.5, float(number), 10.0))
    await same_as_kept_up(postgres_dsn, made.tape, batch=2)


async def test_a_row_that_is_refused_at_the_very_end_costs_a_second_run_and_is_parked(
    postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An open order is kept back; a number of so many digits is only known to be too long by the database."""
    made = opened(39)
    what = ("main", "b", "sim", "X", START)
    long = Decimal("0." + "1" * 20_000)
    bad = made.put("account.main", t.OrderPlaced("o", *what, "buy", "limit", "entry", Decimal(1), limit=long))
    made.put("account.main", t.OrderPlaced("p", *what, "buy", "limit", "entry", Decimal(1)))
    with caplog.at_level(logging.WARNING):
        await same_as_kept_up(postgres_dsn, made.tape, batch=1)
    assert "once more, with keys" in caplog.text
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT seq FROM rebuilt.parked").fetchall() == [(bad,)]
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'rebuilt%'").fetchall()
    assert schemas == [("rebuilt",)]
