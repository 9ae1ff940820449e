"""The projector as a Ray actor, from a real JetStream into a real PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest

from events.memory import MemoryTape
from infra.services.discovery import Endpoints
from infra.session import cluster
from infra.session.projecting import ProjectorWorker, spawn_projector
from infra.tapes.access import NOBODY
from infra.tapes.jetstream import JetStreamTape
from projections.schemas import schema_of
from projections.shell import Projector, project_to_end, table_hashes
from tests.projections.history import history


async def copied(source: MemoryTape, tape: JetStreamTape) -> None:
    versions: dict[str, int] = {}
    for entry in source.entries:
        versions[entry.actor] = await tape.append(entry.actor, entry.decision, expected=versions.get(entry.actor, 0))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")  # of Ray
async def test_a_projector_process_keeps_the_tables_up_with_the_bus(nats_url: str, postgres_dsn: str) -> None:
    tape = await JetStreamTape.connect(nats_url, "projected")
    await asyncio.to_thread(cluster.start, False)
    try:
        projector = spawn_projector(Endpoints((nats_url,), None, postgres_dsn), tape)
        running = projector.run.remote()
        await copied(history(41, minutes=15, name="projected"), tape)
        end = await tape.end()
        # Two minutes: a loaded machine has to start a process; after that it is some milliseconds.
        async with asyncio.timeout(120):
            while (await projector.progress.remote())["at"] < end:  # noqa: ASYNC110 - a process is asked
                await asyncio.sleep(0.05)
        del running
        await project_to_end(postgres_dsn, tape, schema="other")
        live = await table_hashes(postgres_dsn, schema=schema_of("projected"))
        assert live == await table_hashes(postgres_dsn, schema="other")
    finally:
        await asyncio.to_thread(cluster.stop)
        await tape.close()


async def test_making_tables_anew_counts_as_moving() -> None:
    """Else the watch would kill, for ever, a projector whose indexes take longer than a stalled process is given."""
    worker = ProjectorWorker("nats://nowhere", "main", 1, "postgresql://nowhere", NOBODY)
    worker._projector = Projector("postgresql://nowhere", MemoryTape())
    still = [await worker.progress() for _ in range(2)]
    assert still[0] == still[1]
    worker._projector.rebuilding = True
    moving = [await worker.progress() for _ in range(2)]
    assert moving[0] != moving[1]
