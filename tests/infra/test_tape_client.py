"""The connection that a tape uses."""

from __future__ import annotations

import asyncio
from itertools import pairwise

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


async def test_a_reader_in_no_hurry_looks_now_and_then_and_misses_nothing(nats_server: NatsServer) -> None:
    loop, gather_s = asyncio.get_running_loop(), 0.1
    looks: list[float] = []
    numbers: list[int] = []

    def take(found: Delivery) -> None:
        numbers.append(int(found.data[:10]))
        if numbers[-1] < 100 and (not looks or loop.time() - looks[-1] > gather_s / 2):
            looks.append(loop.time())

    slow, sender = TapeClient(gather_s), await nats.connect(nats_server.url)
    await slow.connect(nats_server.url)
    await slow.subscribe_directly("trickle", take)
    await slow.flush()
    for number in range(100):
        await sender.publish("trickle", b"%010d" % number)
        await sender.flush()
        await asyncio.sleep(0.005)
    for number in range(100, 5_000):  # more than is waited for
        await sender.publish("trickle", b"%010d" % number + b"x" * SIZE)
    await sender.flush()
    async with asyncio.timeout(30):  # instead of for ever; it takes some 0.2 s
        while len(numbers) < 5_000:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert numbers == list(range(5_000))
    assert len(looks) > 1
    assert all(later - one >= 0.9 * gather_s for one, later in pairwise(looks))  # clocks of the loop are coarse
    await sender.publish("trickle", b"%010d" % 5_000)
    await sender.flush()
    await slow.close()  # amid a pause
    await sender.close()
