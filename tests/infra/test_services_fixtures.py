"""The shared servers do what other tests rely on."""

import nats
import psycopg
import pytest

from infra.services.nats import NatsCluster, NatsServer


async def test_the_shared_nats_server_keeps_a_stream(nats_server: NatsServer, nats_url: str) -> None:
    client = await nats.connect(nats_url)
    jetstream = client.jetstream()
    await jetstream.add_stream(name="shared", subjects=["shared.>"])
    assert (await jetstream.publish("shared.a", b"1")).seq == 1
    await client.close()
    assert nats_server.url == nats_url


async def test_streams_of_another_test_are_gone(nats_url: str) -> None:
    client = await nats.connect(nats_url)
    assert await client.jetstream().streams_info() == []
    await client.close()


@pytest.mark.parametrize("time", [1, 2])
def test_each_test_has_an_empty_database(postgres_dsn: str, time: int) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("CREATE TABLE once (id int)")


async def test_the_cluster_takes_a_replicated_stream(nats_cluster: NatsCluster, nats_cluster_urls: list[str]) -> None:
    client = await nats.connect(nats_cluster_urls)
    jetstream = client.jetstream()
    created = await jetstream.add_stream(name="three", subjects=["three.>"], num_replicas=3)
    assert created.cluster is not None
    assert len(created.cluster.replicas or []) == 2
    for number in range(1, 11):
        assert (await jetstream.publish("three.a", b"x")).seq == number
    await client.close()
    assert len(set(nats_cluster.pids)) == 3
