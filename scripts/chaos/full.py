"""A disk that is full to the last byte, under the tape or under PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from scripts.chaos.disk import Disk
from scripts.chaos.faults import THERE_S, Missed, Place, Server
from scripts.chaos.stack import until

FELT_S = 15.0  # until the server meets the end of its disk: the files that it has open have room left in them
LONGEST_S = 2.0  # that it stays full after that


async def full_tape(place: Place) -> str:
    """The stream takes nothing any more, every writer waits; with room again the server is started again."""
    stack = place.stack
    async with stack.bus_lock:
        return await _full(place, stack.disks["nats"], stack.bus, lambda: place.seen.feed)


async def full_database(place: Place) -> str:
    """The projector's transactions fail, it waits and tries again; trading does not notice."""
    stack = place.stack
    async with stack.database_lock:
        return await _full(place, stack.disks["postgres"], stack.database, lambda: place.seen.projected)


async def _full(place: Place, disk: Disk, server: Server, at: Callable[[], int]) -> str:
    """Felt is a full disk by a write that fails, or by a server that died meanwhile, for it is not started on it."""
    before = at()
    if not await until(lambda: at() != before, THERE_S):
        raise Missed("nothing is written")
    log = server.log
    said = len(log.read_bytes())
    taken, began, before = disk.fill(), time.monotonic(), at()
    try:
        if not await until(lambda: server.ended or b"no space left" in log.read_bytes()[said:].lower(), FELT_S):
            raise Missed("the server did not write")
        felt, stood = time.monotonic() - began, at()
        await asyncio.sleep(place.chance.uniform(0.0, LONGEST_S))
        return f"{taken >> 20} MB taken; felt after {felt:.1f} s; from {before} to {stood}, then to {at()}"
    finally:
        disk.empty()
