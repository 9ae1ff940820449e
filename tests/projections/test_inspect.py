"""The questions the documentation offers can be asked."""

from __future__ import annotations

import psycopg

from projections.shell import project_to_end
from projections.tables import sql
from tests.projections.history import history


async def test_every_query_for_inspection_runs(postgres_dsn: str) -> None:
    await project_to_end(postgres_dsn, history(31, minutes=60))
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        for query in sql("inspect").split(";"):
            if query.strip():
                connection.execute(query.encode())
