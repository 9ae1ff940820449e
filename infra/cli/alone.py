"""Reaching the bus, and nothing else, for commands that have to work while everything else is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from events.tape import TapeError
from infra.cli.exits import Exit, Failure
from infra.cli.reach import Reached, _named, _of, _running, folder, session_pid, tape_of
from infra.config import Config
from infra.services import admission
from infra.services.embedded import bus_alone
from infra.services.settings import ServiceError
from infra.tapes.jetstream import JetStreamTape

_BUS_S = 10.0  # a session that starts, or a bus that is started again, is there within seconds
_POLL_S = 0.3


@asynccontextmanager
async def commanding(config: Config, role: str = "operator") -> AsyncIterator[tuple[JetStreamTape, Reached]]:
    """The tape, by the bus alone: the database is neither asked nor started. Raises Failure that says what to do."""
    async with AsyncExitStack() as stack:
        try:
            at = await _bus(config, stack)
            tape = await stack.enter_async_context(tape_of(config, at, role))
        except (TapeError, ServiceError) as error:
            raise Failure(f"NOT COMMANDED: {str(error).rstrip('?.')}. {_instead(config)}", Exit.NO_SERVICE) from error
        yield tape, at


async def _bus(config: Config, stack: AsyncExitStack) -> Reached:
    home = folder(config)
    deadline = asyncio.get_running_loop().time() + _BUS_S
    while True:
        if (running := _running(home)) is not None:
            await admission.admit(home, running, config.tape)
            return _of(running.endpoints)
        if config.services.nats_url is not None:
            return _named(config.services, config.services.nats_url)
        if (found := await stack.enter_async_context(bus_alone(home, config.services, config.tape))) is not None:
            return _of(found, started=True)
        if asyncio.get_running_loop().time() > deadline:
            raise ServiceError(f'a process holds the services of "{home}", but its bus does not run')
        await asyncio.sleep(_POLL_S)


def _instead(config: Config) -> str:
    """What is left to do without a bus, over which alone anything is decided."""
    pid = session_pid(config)
    ending = f"; to be sure that nothing goes on when it is back, end the session: kill {pid}" if pid else ""
    log = "" if config.services.nats_url else f" (its log is in {Path(config.data_dir) / 'nats'})"
    return (
        f"Without its bus no actor decides anything, so nothing new is ordered{ending}. Say it again as soon as the "
        f"bus is back{log}"
    )
