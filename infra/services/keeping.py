"""Keeps an owner's servers up: one that has ended, or that cannot write any more, is started again."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from infra.services.settings import ServiceError

log = logging.getLogger("tickertape.services")

LOOK_S = 0.2  # clients look for a server that is away every 0.25 s
ROOM = 32 << 20  # bytes: less, and a server that was stopped by a full disk meets its end again at once
PAUSE_MAX_S = 5.0


class Server(Protocol):
    """What is kept up. `start` takes up what the files hold, on the same port."""

    directory: Path

    @property
    def ended(self) -> bool:
        """Whether its process is gone, though nobody stopped it."""

    async def ailing(self) -> str:
        """Why it cannot go on without being started again; '' where it can, or does not answer."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@asynccontextmanager
async def keeping(servers: Sequence[Server], started: Callable[[], None]) -> AsyncIterator[None]:
    """Watches while the block lasts; `started` is called when a server has been started again."""
    tasks = [asyncio.ensure_future(_keep(server, started)) for server in servers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep(server: Server, started: Callable[[], None]) -> None:
    failures = 0
    while True:
        await asyncio.sleep(min(PAUSE_MAX_S, LOOK_S * 2.0 ** min(failures, 6)))
        why = "it has ended" if server.ended else await server.ailing()
        if not why:
            failures = 0
            continue
        failures += 1
        if (room := shutil.disk_usage(server.directory).free) < ROOM:
            log.error(
                "the server of %s cannot go on (%s): %d MB are left on its disk", server.directory, why, room >> 20
            )
            continue
        log.error("the server of %s is started again: %s", server.directory, why)
        try:
            await server.stop()
            await server.start()
            started()
        except (ServiceError, OSError) as error:
            log.error("%s", error)
