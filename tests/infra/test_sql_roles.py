"""Who may do what in the embedded PostgreSQL."""

from pathlib import Path

import psycopg
import pytest

from infra.services import secrets, sql_roles
from infra.services.embedded import embedded
from infra.services.postgres import PostgresServer
from projections.shell import project_to_end, rebuild, table_hashes
from tests.projections.history import history

WRITES = (
    "DELETE FROM tickertape.fills", "INSERT INTO tickertape.fills DEFAULT VALUES", "TRUNCATE tickertape.fills",
    "DROP SCHEMA tickertape CASCADE", "CREATE SCHEMA mine", "CREATE TABLE public.mine (value int)",
    "CREATE TEMPORARY TABLE mine (value int)", "SET ROLE tickertape_projector", "SET ROLE postgres",
    "ALTER ROLE tickertape_viewer SUPERUSER", "ALTER DATABASE postgres OWNER TO tickertape_viewer",
    "COPY (SELECT 1) TO PROGRAM 'true'", "SELECT pg_read_file('postgresql.conf')", "SELECT * FROM pg_authid",
    "CREATE EXTENSION file_fdw",
)  # fmt: skip


async def test_the_viewer_reads_all_and_writes_nothing(tmp_path: Path) -> None:
    """Also after a rebuild, which makes the tables anew; and passwords stand in their own files alone."""
    async with embedded(tmp_path) as endpoints:
        tape = history(5, minutes=30)
        await project_to_end(endpoints.postgres_dsn, tape, schema="tickertape")
        for attempt in (1, 2):
            with psycopg.connect(endpoints.postgres_view_dsn, autocommit=True) as viewer:
                count = viewer.execute("SELECT count(*) FROM tickertape.candles").fetchone()
                assert count is not None
                assert count[0] > 0
                viewer.execute("SET default_transaction_read_only = off")  # the refusals do not rest on this
                for statement in WRITES:
                    with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                        viewer.execute(statement.encode())
            assert await table_hashes(endpoints.postgres_view_dsn, schema="tickertape")
            if attempt == 1:
                await rebuild(endpoints.postgres_dsn, tape, schema="tickertape")
        with psycopg.connect(endpoints.postgres_dsn, autocommit=True) as projector:
            for statement in WRITES[8:]:
                with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
                    projector.execute(statement.encode())
        for dsn in (endpoints.postgres_dsn, endpoints.postgres_view_dsn):
            assert "password" not in dsn
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(dsn, passfile="/dev/null")
    files = [
        sql_roles.password_file(secrets.folder(tmp_path), role)
        for role in ("tickertape_projector", "tickertape_viewer")
    ]
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    log = (tmp_path / "postgres" / "postgres.log").read_text()
    assert not any(file.read_text().strip().rpartition(":")[2] in log for file in files)


async def test_tables_of_the_superuser_become_the_projectors(tmp_path: Path) -> None:
    tape = history(6, minutes=10)
    async with embedded(tmp_path):
        pass
    async with PostgresServer(tmp_path / "postgres") as server:
        await project_to_end(server.dsn, tape, schema="tickertape")
        await sql_roles.ensure(server.dsn, secrets.folder(tmp_path))
        projector, viewer = (
            sql_roles.address(secrets.folder(tmp_path), role, server.port)
            for role in (sql_roles.PROJECTOR, sql_roles.VIEWER)
        )
        before = await table_hashes(server.dsn, schema="tickertape")
        await rebuild(projector, tape, schema="tickertape")
        assert await table_hashes(viewer, schema="tickertape") == before
