"""The way to a session: Ray beside all else, and the data folder for oneself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from infra.config import SessionSettings
from infra.session import cluster
from infra.session.opening import SessionError, sole_session
from infra.session.tasks import finished

ALONE_S = 0.25


async def alone(held: ExitStack, data_dir: Path, tape: str, say: Callable[[str], None]) -> None:
    """Waits for the end of a session with the same data folder, whose services may end with it."""
    said = False
    while True:
        try:
            held.enter_context(sole_session(data_dir, tape))
            return
        except SessionError as other:
            if not said:
                say(f"standing by: {str(other).partition(';')[0]}")
                said = True
        await asyncio.sleep(ALONE_S)


class RayStart:
    """Ray, started in a thread, once."""

    def __init__(self, settings: SessionSettings) -> None:
        self._settings = settings
        self._starting: asyncio.Future[str] | None = None

    def start(self) -> None:
        if self._starting is None:
            started = asyncio.to_thread(cluster.start, self._settings.dashboard, self._settings.dashboard_port)
            self._starting = asyncio.ensure_future(started)

    async def started(self) -> str:
        """The dashboard's address."""
        self.start()
        assert self._starting is not None
        return await asyncio.shield(self._starting)

    async def end(self) -> None:
        """Waits for a start that is under way: a thread cannot be ended, and what it has started must be."""
        if self._starting is not None:
            try:
                await finished(self._starting)
            finally:
                await asyncio.to_thread(cluster.stop)
