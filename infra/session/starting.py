"""The way to a session: Ray beside all else, the data folder for oneself, and the claim of a tape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from actors.plan import Plan
from events.tape import TapeDamaged, TapeError
from infra.config import Config, SessionSettings
from infra.services.discovery import Endpoints
from infra.services.embedded import embedded
from infra.services.settings import ServiceAway
from infra.session import cluster
from infra.session.lease import Lease, Patience, acquire
from infra.session.opening import SessionError, opened, record_plan, sole_session
from infra.session.tasks import finished
from infra.tapes.bus import NotAllowed
from infra.tapes.jetstream import JetStreamTape

ALONE_S = 0.25
AWAY_S = 1.0  # between two attempts at services that are away


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


class Claimed(NamedTuple):
    """What a session stands on. `tape` and `feeds`: the same tape in two roles."""

    endpoints: Endpoints
    tape: JetStreamTape
    feeds: JetStreamTape
    lease: Lease


@asynccontextmanager
async def claimed(config: Config, plan: Plan, *, standby: bool, say: Callable[[str], None]) -> AsyncIterator[Claimed]:
    """Services, and the tape for oneself. As `standby`, services of others' that are away are waited for: that they
    are is what one stands by for. Raises ServiceError, SessionError, SessionHeld, TapeError."""
    said = ""
    while True:
        async with AsyncExitStack() as held:
            try:
                found = await _claim(held, config, plan, standby, say)
            except (ServiceAway, TapeError) as away:
                if not standby or isinstance(away, TapeDamaged | NotAllowed):
                    raise
                if said != (said := str(away)):
                    say(f"standing by: {said}")
            else:
                yield found
                return
        await asyncio.sleep(AWAY_S)


async def _claim(
    held: AsyncExitStack, config: Config, plan: Plan, standby: bool, say: Callable[[str], None]
) -> Claimed:
    services = embedded(Path(config.data_dir), config.services, config.tape)
    endpoints = await held.enter_async_context(services)
    tape = await held.enter_async_context(opened(config, endpoints, "session", create=True))
    feeds = await held.enter_async_context(opened(config, endpoints, "feed"))
    await record_plan(tape, plan, time.time_ns() // 1000)
    patience = Patience(config.session.silent_s, config.session.gone_s)
    return Claimed(
        endpoints, tape, feeds, await acquire(tape, tape.client, standby=standby, say=say, patience=patience)
    )


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
