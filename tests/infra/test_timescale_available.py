"""What the tests need of a real TimescaleDB, shown on the one that `timescale_dsn` gives."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from tests.timescale import TimescaleDsn  # pytest itself must be the first to import a plugin

pytest_plugins = ["tests.timescale"]

START = datetime(2024, 1, 1, tzinfo=UTC)
UPSERT = """
INSERT INTO candle SELECT ts, 'BTC-USDT', close, 1 FROM unnest(%s::timestamptz[], %s::float8[]) AS new(ts, close)
ON CONFLICT (symbol, ts) DO UPDATE SET close = excluded.close
"""


@pytest.fixture
def connection(empty_timescale_dsn: TimescaleDsn) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(empty_timescale_dsn, autocommit=True) as opened:
        opened.execute(
            "CREATE TABLE candle(ts timestamptz NOT NULL, symbol text NOT NULL, close float8, volume float8,"
            " UNIQUE (symbol, ts))"
        )
        opened.execute("SELECT create_hypertable('candle', by_range('ts', INTERVAL '1 day'))")
        yield opened


def minutes(count: int) -> list[datetime]:
    return [START + timedelta(minutes=number) for number in range(count)]


def fill(connection: psycopg.Connection[Any], days: int) -> None:
    stamps = minutes(days * 1440)
    connection.execute(UPSERT, (stamps, [float(number) for number in range(len(stamps))]))


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def test_the_extension_is_there_with_its_community_features(
    timescale_dsn: TimescaleDsn, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(timescale_dsn) as connection:
        version = one(connection, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'")
        licence = one(connection, "SELECT current_setting('timescaledb.license')")
        server = one(connection, "SELECT current_setting('server_version')")
    line = f"TimescaleDB {version} on PostgreSQL {server} ({timescale_dsn.variant})"
    record_property("timescaledb", line)
    with capsys.disabled():
        print(f"\n{line}")  # noqa: T201 - which one was tested belongs into the log of the run
    assert tuple(int(part) for part in version.split("-")[0].split(".")[:2]) >= (2, 18)
    assert licence == "timescale"


def test_upserts_by_unnest_make_chunks_and_change_rows_in_place(connection: psycopg.Connection[Any]) -> None:
    """5 days of minutes are 200 kB in one message."""
    fill(connection, 5)
    fill(connection, 5)
    assert one(connection, "SELECT count(*), sum(close) FROM candle") == (7200, 7199 * 7200 / 2)
    assert one(connection, "SELECT count(*) FROM show_chunks('candle')") == 5
    connection.execute(UPSERT, (minutes(1), [1000.0]))
    assert one(connection, "SELECT count(*), sum(close) FROM candle") == (7200, 7199 * 7200 / 2 + 1000)


def test_a_unique_key_without_the_time_is_refused(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.DatabaseError, match="partitioning"):
        connection.execute("CREATE UNIQUE INDEX ON candle (symbol)")


def test_time_bucket_and_gapfill(connection: psycopg.Connection[Any]) -> None:
    fill(connection, 1)
    buckets = connection.execute(
        "SELECT time_bucket('1 hour', ts) AS hour, first(close, ts), max(close), last(close, ts), sum(volume)"
        " FROM candle GROUP BY hour ORDER BY hour"
    ).fetchall()
    assert len(buckets) == 24
    assert buckets[1] == (START + timedelta(hours=1), 60.0, 119.0, 119.0, 60.0)
    connection.execute("DELETE FROM candle WHERE ts >= '2024-01-01 01:00Z' AND ts < '2024-01-01 02:00Z'")
    filled = connection.execute(
        "SELECT time_bucket_gapfill('1 hour', ts, '2024-01-01Z'::timestamptz, '2024-01-01 03:00Z') AS hour,"
        " locf(last(close, ts)) FROM candle WHERE ts < '2024-01-01 03:00Z' GROUP BY hour ORDER BY hour"
    ).fetchall()
    assert [value for _, value in filled] == [59.0, 59.0, 179.0]


def test_continuous_aggregate(connection: psycopg.Connection[Any]) -> None:
    fill(connection, 2)
    connection.execute(
        "CREATE MATERIALIZED VIEW hourly WITH (timescaledb.continuous) AS"
        " SELECT symbol, time_bucket('1 hour', ts) AS hour, last(close, ts) AS close FROM candle GROUP BY 1, 2"
        " WITH NO DATA"
    )
    assert one(connection, "SELECT count(*) FROM hourly") == 0
    connection.execute("CALL refresh_continuous_aggregate('hourly', NULL, NULL)")
    assert one(connection, "SELECT count(*), max(close) FROM hourly") == (48, 2879.0)
    connection.execute(
        "SELECT add_continuous_aggregate_policy('hourly', start_offset => INTERVAL '3 days',"
        " end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '1 hour')"
    )
    jobs = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = 'policy_refresh_continuous_aggregate'"
    assert one(connection, jobs) == 1


def test_columnstore_and_its_policy(connection: psycopg.Connection[Any]) -> None:
    fill(connection, 3)
    before = one(connection, "SELECT count(*), sum(close) FROM candle")
    connection.execute(
        "ALTER TABLE candle SET (timescaledb.enable_columnstore, timescaledb.segmentby = 'symbol',"
        " timescaledb.orderby = 'ts DESC')"
    )
    connection.execute("CALL add_columnstore_policy('candle', after => INTERVAL '7 days')")
    job = one(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'")
    connection.execute(f"CALL run_job({job})".encode())
    compressed = (
        "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'candle' AND is_compressed"
    )
    assert one(connection, compressed) == 3
    assert one(connection, "SELECT count(*), sum(close) FROM candle") == before
    connection.execute(UPSERT, (minutes(1), [1000.0]))
    assert one(connection, "SELECT count(*), sum(close) FROM candle") == (before[0], before[1] + 1000)


def test_retention_policy(connection: psycopg.Connection[Any]) -> None:
    fill(connection, 2)
    connection.execute(UPSERT, ([datetime.now(UTC)], [1.0]))
    job = one(connection, "SELECT add_retention_policy('candle', INTERVAL '30 days')")
    connection.execute(f"CALL run_job({job})".encode())
    assert one(connection, "SELECT count(*) FROM candle") == 1


def copy_rows(cursor: psycopg.Cursor[Any], statement: bytes, stamps: list[datetime]) -> None:
    with cursor.copy(statement) as copy:
        copy.set_types(["timestamptz", "text", "float8", "float8"])
        for number, stamp in enumerate(stamps):
            copy.write_row((stamp, "BTC-USDT", float(number), 1.0))


@pytest.mark.parametrize("encoding", ["text", "binary"])
def test_copy(connection: psycopg.Connection[Any], timescale_dsn: TimescaleDsn, encoding: str) -> None:
    if not timescale_dsn.copy_works:
        pytest.skip(f"the {timescale_dsn.variant} TimescaleDB takes no COPY FROM STDIN")
    statement = f"COPY candle (ts, symbol, close, volume) FROM STDIN (FORMAT {encoding})".encode()
    with connection.cursor() as cursor:
        copy_rows(cursor, statement, minutes(5000))
        with pytest.raises(psycopg.errors.UniqueViolation):
            copy_rows(cursor, statement, minutes(1))
    assert one(connection, "SELECT count(*), sum(close) FROM candle") == (5000, 4999 * 2500)


def test_a_connection_leaves_nothing_to_the_next(empty_timescale_dsn: TimescaleDsn) -> None:
    with psycopg.connect(empty_timescale_dsn, autocommit=True) as connection:
        path = one(connection, "SHOW search_path")
    connection = psycopg.connect(empty_timescale_dsn)
    connection.execute("CREATE TABLE left_open (id int)")
    connection.execute("SET search_path TO pg_catalog")
    connection.close()
    with psycopg.connect(empty_timescale_dsn) as connection:
        assert one(connection, "SELECT to_regclass('public.left_open') IS NULL")
        assert one(connection, "SHOW search_path") == path
        assert one(connection, "SELECT time_bucket('1 hour', '2024-01-01 00:59Z'::timestamptz)") == START


def test_after_an_error_a_pipeline_goes_on(connection: psycopg.Connection[Any]) -> None:
    insert = "INSERT INTO candle VALUES (%s, 'ETH-USDT', 1, 1)"
    with connection.cursor() as cursor:
        cursor.executemany(insert, [(stamp,) for stamp in minutes(200)])
        with pytest.raises(psycopg.errors.UniqueViolation):
            cursor.executemany(insert, [(stamp,) for stamp in reversed(minutes(201))])
    assert one(connection, "SELECT count(*) FROM candle") == 200
