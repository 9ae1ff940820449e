"""Real servers for tests, started when a test first asks for them and kept for the test session.

`nats_server` and `nats_cluster` (three servers, R3) are shared, so a test uses stream names and subjects of its own,
or takes `nats_url` / `nats_cluster_urls`, which delete every stream after the test. `postgres_dsn` is a fresh
database for each test.
"""

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import psycopg
import pytest

from infra.services.nats import NatsCluster, NatsServer
from infra.services.postgres import PostgresServer, database_dsn

# Nothing here has to survive a power cut; without fsync a fresh database takes a tenth of the time.
_FAST = {"fsync": False, "synchronous_commit": False, "full_page_writes": False}
_database_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tickertape-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def nats_server(services_folder: Path) -> Iterator[NatsServer]:
    """A running server; after `kill()` or `stop()` a test must `start()` it again."""
    server = NatsServer(services_folder / "nats")
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def nats_cluster(services_folder: Path) -> Iterator[NatsCluster]:
    """Three running servers with JetStream; starting takes 2 to 7 s (the election of the first leader)."""
    cluster = NatsCluster(services_folder / "cluster")
    asyncio.run(cluster.start())
    yield cluster
    asyncio.run(cluster.stop())


@pytest.fixture(scope="session")
def postgres(services_folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(services_folder / "postgres", settings=_FAST)
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture
async def nats_url(nats_server: NatsServer) -> AsyncIterator[str]:
    yield nats_server.url
    await _delete_streams([nats_server.url])


@pytest.fixture
async def nats_cluster_urls(nats_cluster: NatsCluster) -> AsyncIterator[list[str]]:
    yield list(nats_cluster.urls)
    await _delete_streams(list(nats_cluster.urls))


async def _delete_streams(urls: list[str]) -> None:
    client = await nats.connect(urls)
    try:
        jetstream = client.jetstream()
        for stream in await jetstream.streams_info():
            if stream.config.name is not None:
                await jetstream.delete_stream(stream.config.name)
    finally:
        await client.close()


@pytest.fixture
def postgres_dsn(postgres: PostgresServer) -> Iterator[str]:
    """The DSN of an empty database that is dropped after the test."""
    name = f"test_{next(_database_numbers)}"
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield database_dsn(postgres.dsn, name)
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
