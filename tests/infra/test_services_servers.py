"""Each server alone: what it is given, what it refuses, how it comes back; and settings that make no sense."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import psycopg
import pytest
from nats.aio.client import Client

from infra.services.embedded import embedded
from infra.services.nats import NatsCluster, NatsServer
from infra.services.nats_client import check_external
from infra.services.postgres import PostgresServer
from infra.services.postgres import check_external as check_external_postgres
from infra.services.settings import ServiceError, ServiceSettings, settings_from
from tests.roles import client_as

# Electing a leader takes the servers 4 to 9 s by their own rules; this leaves room for a busy machine.
_ELECTION_PATIENCE_S = 60.0


def executable(path: Path, answer: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


@asynccontextmanager
async def greeting_server(version: str) -> AsyncIterator[str]:
    """Speaks only the first lines of the NATS protocol: an old server is not to be had from a wheel."""
    info = {"version": version, "max_payload": 1_048_576, "server_id": "old", "proto": 1}

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_a_killed_nats_server_comes_back_on_its_port_with_its_stream(tmp_path: Path) -> None:
    async with NatsServer(tmp_path) as server:
        before = server.url, server.monitor_url
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="kept", subjects=["kept"])
        await client.jetstream().publish("kept", b"1")
        await client.close()
        await server.kill()
        await server.start()
        assert (server.url, server.monitor_url) == before
        client = await nats.connect(server.url)
        assert (await client.jetstream().get_msg("kept", 1)).data == b"1"
        assert client.max_payload == 1_048_576
        await client.close()


@pytest.mark.parametrize(("interval", "seconds_or_always"), [("10s", "10s"), ("always", "always"), (None, "2m0s")])
async def test_the_sync_interval_reaches_the_server(
    tmp_path: Path, interval: str | None, seconds_or_always: str
) -> None:
    async with NatsServer(tmp_path, sync_interval=interval) as server:
        with await asyncio.to_thread(socket.create_connection, ("127.0.0.1", int(server.monitor_url[17:]))) as wire:
            wire.sendall(b"GET /varz HTTP/1.0\r\n\r\n")
            body = b"".join(iter(lambda: wire.recv(65_536), b"")).split(b"\r\n\r\n", 1)[1]
    config = json.loads(body)["jetstream"]["config"]
    nanoseconds = {"10s": 10_000_000_000, "2m0s": 120_000_000_000}.get(seconds_or_always)
    if nanoseconds is None:
        assert config["sync_always"] is True
    else:
        assert config["sync_interval"] == nanoseconds
        assert not config.get("sync_always")


async def test_a_replicated_stream_survives_the_loss_of_one_server(tmp_path: Path) -> None:
    async with NatsCluster(tmp_path) as cluster:
        client = await nats.connect(list(cluster.urls), max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        jetstream = client.jetstream()
        await jetstream.add_stream(name="kept", subjects=["kept"], num_replicas=3)
        assert await _published(client, b"1") == 1
        leader = (await jetstream.stream_info("kept")).cluster
        assert leader is not None
        lost = next(server for server in cluster.servers if server.name == leader.leader)
        await lost.kill()
        assert await _published(client, b"2") >= 2
        await lost.start()
        assert await _published(client, b"3") >= 3
        await client.close()


async def _published(client: Client, body: bytes, subject: str = "kept") -> int:
    deadline = time.monotonic() + _ELECTION_PATIENCE_S
    while True:
        try:
            return int((await client.jetstream(timeout=2).publish(subject, body)).seq)
        except nats.errors.Error:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


async def test_the_replicated_tier_starts_three_servers_that_keep_their_stream(tmp_path: Path) -> None:
    settings = ServiceSettings(durability="replicated")
    for count in (1, 2):
        async with embedded(tmp_path, settings) as endpoints:
            assert (len(endpoints.nats_urls), endpoints.replicas) == (3, 3)
            async with client_as(endpoints, "archivist") as (client, jetstream):
                await jetstream.add_stream(name="main", subjects=["main.>"], num_replicas=endpoints.replicas)
                assert await _published(client, b"x", "main.feed.kept") == count


async def test_an_old_nats_server_is_refused(tmp_path: Path) -> None:
    old = executable(tmp_path / "nats-server", "nats-server: v2.11.9")
    with pytest.raises(ServiceError, match=r"is version 2\.11; 2\.12 or newer is needed"):
        await NatsServer(tmp_path / "nats", binary=str(old)).start()
    assert not (tmp_path / "nats").exists()
    async with greeting_server("2.10.4") as url:
        with pytest.raises(ServiceError, match=r"at nats://.* is version 2\.10; 2\.12 or newer"):
            await check_external([url])


async def test_an_old_postgres_is_refused(tmp_path: Path) -> None:
    executable(tmp_path / "postgres", "postgres (PostgreSQL) 14.11")
    with pytest.raises(ServiceError, match="is version 14; 15 or newer is needed"):
        await PostgresServer(tmp_path / "data", bin_dir=str(tmp_path)).start()


async def test_an_address_where_nobody_answers_is_named() -> None:
    with pytest.raises(ServiceError, match=r"No NATS server answers at nats://127\.0\.0\.1:1: .*Connect call failed"):
        await check_external(["nats://127.0.0.1:1"])
    with pytest.raises(ServiceError, match="PostgreSQL does not answer at postgres_dsn"):
        await check_external_postgres("postgresql://127.0.0.1:1/none")


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"{port}.*address already in use"):
            await NatsServer(tmp_path / "nats", port=port, start_timeout_s=20).start()
        with pytest.raises(ServiceError, match="Address already in use"):
            await PostgresServer(tmp_path / "postgres", port=port).start()


async def test_a_second_server_on_the_same_folder_is_refused(nats_server: NatsServer, postgres: PostgresServer) -> None:
    with pytest.raises(ServiceError, match="already runs on"):
        await NatsServer(nats_server.directory).start()
    with pytest.raises(ServiceError, match="already runs on"):
        await PostgresServer(postgres.directory).start()


async def test_postgres_takes_settings_and_recovers_from_a_kill(tmp_path: Path) -> None:
    settings: dict[str, str | int | float | bool] = {
        "shared_preload_libraries": "pg_stat_statements",
        "search_path": "it's, public",
        "jit": False,
    }
    async with PostgresServer(tmp_path, settings=settings) as server:
        dsn = server.dsn
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SHOW shared_preload_libraries").fetchone() == ("pg_stat_statements",)
            assert connection.execute("SHOW jit").fetchone() == ("off",)
            connection.execute("CREATE TABLE public.kept AS SELECT 1 AS value")
            connection.commit()
            await server.kill()
        await server.start()
        assert server.dsn == dsn
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT value FROM public.kept").fetchall() == [(1,)]


async def test_a_setting_that_postgres_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r'did not start .*"no_such_setting"'):
        await PostgresServer(tmp_path, settings={"no_such_setting": 1}).start()


async def test_data_of_another_postgres_version_are_left_alone(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    async with server:
        pass
    (server.data / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceError, match="was written by PostgreSQL 9 and cannot be used by"):
        await server.start()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"nats_prt": 1}, 'Unknown service setting "nats_prt"; did you mean "nats_port"?'),
        ({"nats_port": 70_000}, r"nats_port must be 0 \(any free port\) to 65535, not 70000"),
        ({"nats_port": "a"}, "Expected `int`, got `str` - at `\\$.nats_port`"),
        ({"durability": "eternal"}, "Invalid enum value 'eternal' - at `\\$.durability`"),
        ({"sync_interval": "soon"}, 'sync_interval must be a duration such as "10s" or "2m", not "soon"'),
        ({"sync_interval": "1s", "durability": "always"}, 'no meaning with durability "always"'),
        ({"postgres_settings": {"port": 1}}, '"port" in postgres_settings is set by the system itself'),
        ({"postgres_settings": {"a b": 1}}, '"a b" in postgres_settings is not the name'),
        ({"postgres_settings": {"a": "b\nport = 1"}}, 'the value of "a" in postgres_settings contains a control'),
        ({"start_timeout_s": 0}, "start_timeout_s must be above 0 seconds"),
    ],
)
def test_bad_settings_give_one_clear_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ServiceError, match=sentence) as caught:
        settings_from(values)
    assert "\n" not in str(caught.value)


async def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match=r'The data folder ".*file/below" cannot be used'):
        async with embedded(tmp_path / "file" / "below"):
            pass
