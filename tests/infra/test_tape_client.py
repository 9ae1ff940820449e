"""The connection that a tape uses."""

from __future__ import annotations

import asyncio

import nats

from infra.services.nats import NatsServer
from infra.tapes.client import Delivery, TapeClient

FLOOD, SIZE = 400, 1_000


class Late(TapeClient):
    """A machine so busy that what was asked for comes before the connection's own reading has begun."""

    async def _read_loop(self) -> None:
        transport = self._transport._io_writer.transport
        while transport.is_reading():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        await super()._read_loop()


async def test_what_comes_in_a_flood_before_reading_has_begun_is_read(nats_server: NatsServer) -> None:
    came: list[Delivery] = []
    late, sender = Late(), await nats.connect(nats_server.url)
    await late.connect(nats_server.url)
    await late.subscribe_directly("flood", came.append)
    async with asyncio.timeout(30):  # instead of for ever, where nothing is read; else it takes some 0.1 s
        while len(came) < FLOOD:
            for _ in range(FLOOD):
                await sender.publish("flood", b"x" * SIZE)
            await sender.flush()
            await asyncio.sleep(0.05)
    await late.close()
    await sender.close()
