"""A disk that is full to the last byte, under the tape and under PostgreSQL."""

from __future__ import annotations

import asyncio

from scripts.chaos.faults import Missed, Place
from scripts.chaos.stack import until

FELT_S = 60.0  # until the server meets the end of its disk: the files it has open have room left in them
FULL_S = 1.0


async def full_tape(place: Place) -> str:
    """Appends are refused; when there is room again, an operator starts the server again."""
    stack = place.stack
    async with stack.bus_lock:
        disk = stack.disks["nats"]
        if not disk.mounted:
            raise Missed("no disk of its own")
        taken = disk.fill()
        try:
            at = place.seen.feed
            await until(lambda: "no space left" in stack.bus.log.read_text(errors="replace"), FELT_S)
            await asyncio.sleep(FULL_S)
        finally:
            disk.empty()
        return f"{taken >> 20} MB taken, at {at} to {place.seen.feed}"


async def full_database(place: Place) -> str:
    stack = place.stack
    async with stack.database_lock:
        disk = stack.disks["postgres"]
        if not disk.mounted:
            raise Missed("no disk of its own")
        taken = disk.fill()
        try:
            at = place.seen.projected
            await until(lambda: "No space left" in stack.database.log.read_text(errors="replace"), FELT_S)
            await asyncio.sleep(FULL_S)
        finally:
            disk.empty()
        return f"{taken >> 20} MB taken, at {at} to {place.seen.projected}"
