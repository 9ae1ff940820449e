"""One kind of tape after the other, each with a name of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from events.memory import MemoryTape
from events.tape import Tape
from infra.services.nats import NatsCluster, NatsServer
from infra.tapes.bus import Bus
from infra.tapes.file import FileTape
from infra.tapes.jetstream import JetStreamTape

GATHER_S = 0.02  # some messages come meanwhile, and a test is not much longer
_numbers = itertools.count(1)

Another = Callable[[], Awaitable[Tape]]


class Kind:
    """A tape under test. `another()` is one more handle on it: for JetStream a connection of its own."""

    def __init__(self, kind: str, tape: Tape, another: Another, url: str) -> None:
        self.kind, self.tape, self.another, self.url = kind, tape, another, url


@pytest.fixture(params=["memory", "file", "r1", "r3", "r1-asked", "r3-asked"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(kind: str, request: pytest.FixtureRequest) -> Any:
    """The server or cluster of this kind, started only for a kind that needs it."""
    needed = {"r1": "nats_server", "r3": "nats_cluster"}.get(kind[:2])
    return request.getfixturevalue(needed) if needed else None


@pytest.fixture
async def opened(kind: str, server: Any, tmp_path: Path) -> AsyncIterator[Kind]:
    if kind == "memory":
        yield _alone(kind, MemoryTape("main"))
    elif kind == "file":
        file = FileTape(tmp_path, "main", segment_bytes=4096)
        yield _alone(kind, file)
        await file.close()
    else:
        async for found in _jetstream(kind, server):
            yield found


@pytest.fixture
def tape(opened: Kind) -> Tape:
    return opened.tape


def _alone(kind: str, tape: Tape) -> Kind:
    async def another() -> Tape:
        return tape

    return Kind(kind, tape, another, "")


async def _jetstream(kind: str, server: NatsServer | NatsCluster) -> AsyncIterator[Kind]:
    url = ",".join(server.urls) if isinstance(server, NatsCluster) else server.url
    name = f"contract-{next(_numbers)}"
    handles: list[JetStreamTape] = []

    async def another() -> JetStreamTape:
        # A test has no reason to wait longer than this for a server that runs.
        handles.append(await JetStreamTape.connect(url, name, **options(kind), patience_s=20))
        return handles[-1]

    yield Kind(kind, await another(), another, url)
    for handle in handles:
        await handle.close()
    await drop(url, name)


def options(kind: str) -> dict[str, Any]:
    """Of a kind of JetStream tape; those that are `asked` have their followers ask for what has come."""
    return {"replicas": int(kind[1]), "gather_s": GATHER_S if kind.endswith("asked") else 0.0}


async def drop(url: str, name: str) -> None:
    """Deletes a stream, so that the shared servers stay small."""
    bus = Bus("clean-up")
    await bus.connect(url)
    await bus.ask_patiently(f"STREAM.DELETE.{name}", patience_s=20)
    await bus.close()
