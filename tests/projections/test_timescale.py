"""On a real TimescaleDB: the same rows and answers as on plain PostgreSQL, with its hypertables and policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from projections.shell import project_to_end, rebuild, table_hashes
from tests.projections.history import first, history

if TYPE_CHECKING:
    from tests.timescale import TimescaleDsn  # pytest itself must be the first to import a plugin

AGGREGATES = ("candles_1h_cagg", "candles_1d_cagg", "equity_1d_cagg")
VIEWS = (*AGGREGATES, "candles_1h", "candles_1d", "daily_pnl", "sync_status", "performance", "account_performance")


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return connection.execute(query.encode()).fetchall()


def do(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture
def timescale(empty_timescale_dsn: TimescaleDsn) -> Iterator[TimescaleDsn]:
    clean = "DROP SCHEMA IF EXISTS tickertape CASCADE"
    do(empty_timescale_dsn, clean)
    yield empty_timescale_dsn
    do(empty_timescale_dsn, clean)


def answers(dsn: str) -> dict[str, list[tuple[Any, ...]]]:
    return {view: sorted(rows(dsn, f"SELECT * FROM tickertape.{view}"), key=repr) for view in VIEWS}


async def test_the_same_rows_and_answers_as_on_plain_postgresql(timescale: TimescaleDsn, postgres_dsn: str) -> None:
    tape = history(21, minutes=130)
    for end in (100, 300, len(tape.entries)):
        await project_to_end(timescale, first(tape, end), batch=100)
    await project_to_end(postgres_dsn, tape)
    assert await table_hashes(timescale) == await table_hashes(postgres_dsn)
    plain = answers(postgres_dsn)
    assert all(plain.values())
    assert answers(timescale) == plain, "before any refresh"
    refresh = [f"CALL refresh_continuous_aggregate('tickertape.{name}', NULL, NULL)" for name in AGGREGATES]
    do(timescale, *refresh)
    assert answers(timescale) == plain, "after a refresh"


async def test_tables_are_hypertables_with_columnstore_and_policies_but_no_retention(timescale: TimescaleDsn) -> None:
    await project_to_end(timescale, history(22, minutes=30))
    found = "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = 'tickertape'"
    assert sorted(rows(timescale, found)) == [("candles",), ("equity",)]
    jobs = "SELECT proc_name, count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000 GROUP BY 1 ORDER BY 1"
    assert rows(timescale, jobs) == [("policy_compression", 2), ("policy_refresh_continuous_aggregate", 3)]


async def test_what_comes_after_compression_and_a_refresh_is_seen(timescale: TimescaleDsn, postgres_dsn: str) -> None:
    """Late bars into compressed chunks, and into buckets that were refreshed before, after one more refresh."""
    tape = history(23, minutes=90)
    await project_to_end(timescale, first(tape, len(tape.entries) // 2))
    jobs = rows(timescale, "SELECT job_id FROM timescaledb_information.jobs WHERE job_id >= 1000 ORDER BY job_id")
    do(timescale, *(f"CALL run_job({job})" for (job,) in jobs))
    compressed = "SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed"
    assert rows(timescale, compressed) != [(0,)]
    await project_to_end(timescale, tape)
    await project_to_end(postgres_dsn, tape)
    assert await table_hashes(timescale) == await table_hashes(postgres_dsn)
    do(timescale, *(f"CALL refresh_continuous_aggregate('tickertape.{name}', NULL, NULL)" for name in AGGREGATES))
    assert answers(timescale) == answers(postgres_dsn)


async def test_a_rebuild_swaps_hypertables_and_aggregates(timescale: TimescaleDsn) -> None:
    tape = history(24, minutes=60)
    await project_to_end(timescale, first(tape, 60))
    report = await rebuild(timescale, tape)
    assert (report.at, report.kept) == (len(tape.entries), "")
    before = await table_hashes(timescale)
    views = answers(timescale)
    await rebuild(timescale, tape)
    assert await table_hashes(timescale) == before
    assert answers(timescale) == views
    owned = "SELECT DISTINCT hypertable_schema FROM timescaledb_information.hypertables"
    assert rows(timescale, owned) == [("tickertape",)]
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE job_id >= 1000"
    assert rows(timescale, jobs) == [(5,)]
    more = history(24, minutes=70)
    assert await project_to_end(timescale, more) == len(more.entries)
