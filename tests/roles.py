"""Plain clients of an embedded bus, as one of its roles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

from infra.services.discovery import Endpoints


@asynccontextmanager
async def client_as(endpoints: Endpoints, role: str) -> AsyncIterator[tuple[Client, JetStreamContext]]:
    """nats-py's own client and its view of JetStream. An archivist may write all of a tape that the server knows."""
    access = endpoints.access(role)
    client = await nats.connect(list(endpoints.nats_urls), **access.options())
    try:
        yield client, client.jetstream(prefix=access.api)
    finally:
        await client.close()
