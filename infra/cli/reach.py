"""Reaching the services and the tape. Looking and commanding need the bus; the database may be away."""

from __future__ import annotations

import fcntl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from events.decision import Decision
from events.tape import LostRace, TapeError
from infra.cli.exits import Exit, Failure
from infra.config import Config
from infra.services import admission, discovery, process
from infra.services.discovery import Endpoints
from infra.services.embedded import embedded
from infra.services.secrets import access
from infra.services.settings import ServiceError, ServiceSettings
from infra.tapes.access import Access
from infra.tapes.jetstream import JetStreamTape

_RACES_MAX = 20  # commands and imports are rare: twenty lost races in a row mean that something else is wrong


class Reached(msgspec.Struct, frozen=True):
    """`dsn` None: the database cannot be had, and `trouble` says why. `started`: the services run for this command.

    `dsn` is for reading tables, `writing_dsn` for making them.
    """

    nats_url: str
    replicas: int
    dsn: str | None
    trouble: str = ""
    started: bool = False
    monitor_url: str | None = None
    writing_dsn: str | None = None
    secrets: str | None = None
    ca: str | None = None

    def access(self, role: str) -> Access:
        """As what to connect to the bus."""
        return access(self.secrets, role, self.ca)


def folder(config: Config) -> Path:
    return Path(config.data_dir).expanduser().resolve()


@asynccontextmanager
async def reached(config: Config) -> AsyncIterator[Reached]:
    """The bus, and the database where it can be had. Servers are started where none run. Raises ServiceError."""
    home = folder(config)
    running = _running(home)
    if running is not None:
        await admission.admit(home, running, config.tape)
        yield _of(running.endpoints)
        return
    if config.services.nats_url is not None:
        yield _named(config.services, config.services.nats_url)
        return
    async with _started(config, home) as found:
        yield found


def _running(home: Path) -> discovery.Running | None:
    """What a living owner of the data folder keeps, where its bus can be asked now."""
    running = discovery.read(home)
    if running is not None and all(
        process.is_server(pid, option, Path(target)) for pid, option, target in running.servers if option == "-c"
    ):
        return running
    return None


def _named(settings: ServiceSettings, url: str) -> Reached:
    """The bus that the configuration names."""
    replicas = 3 if settings.durability == "replicated" else 1
    trouble = "" if settings.postgres_dsn else "no session runs, and with it no database"
    dsn = settings.postgres_dsn
    return Reached(
        url,
        replicas,
        settings.postgres_view_dsn or dsn,
        trouble,
        writing_dsn=dsn,
        secrets=settings.nats_secrets,
        ca=settings.nats_ca,
    )


@asynccontextmanager
async def _started(config: Config, home: Path) -> AsyncIterator[Reached]:
    entered = False
    try:
        async with embedded(home, config.services, config.tape) as found:
            entered = True
            yield _of(found, started=True)
        return
    except ServiceError as error:
        if entered or config.services.postgres_dsn is None:
            raise
        trouble = str(error)
    # Only the database that the configuration names is away: the bus alone, with no word about a database.
    from infra.services.embedded import _owned

    with discovery.ownership(home) as owner:
        if not owner:
            raise ServiceError(trouble)
        async with _owned(home, config.services, config.tape) as found:
            yield msgspec.structs.replace(_of(found, started=True), dsn=None, writing_dsn=None, trouble=trouble)


def _of(found: Endpoints, *, started: bool = False) -> Reached:
    return Reached(
        found.nats,
        found.replicas,
        found.postgres_view_dsn,
        writing_dsn=found.postgres_dsn,
        started=started,
        monitor_url=found.nats_monitor_url,
        secrets=found.secrets,
        ca=found.nats_ca,
    )


@asynccontextmanager
async def tape_of(
    config: Config, at: Reached, role: str = "viewer", *, create: bool = False
) -> AsyncIterator[JetStreamTape]:
    """The configured tape, for a role; an operator creates it. Raises Failure where there is none."""
    connect = partial(JetStreamTape.connect, at.nats_url, config.tape, replicas=at.replicas)
    try:
        if create:
            await (await connect(create=True, access=at.access("operator"))).close()
        tape = await connect(create=False, access=at.access(role))
    except TapeError as error:
        if "there is no tape" in str(error):
            raise Failure(
                f"there is no tape {config.tape!r} here yet: make it with `tape run` or `tape import`, or name another "
                "with --tape or --data-dir"
            ) from error
        raise
    try:
        yield tape
    finally:
        await tape.close()


@asynccontextmanager
async def looking(config: Config, role: str = "viewer") -> AsyncIterator[tuple[JetStreamTape, Reached]]:
    """The tape that is there, and where it was found."""
    async with reached(config) as at, tape_of(config, at, role) as tape:
        yield tape, at


async def append(tape: JetStreamTape, decision: Decision, actor: str) -> int:
    """Appends what people or files say; others may say something at the same time. Returns the sequence."""
    for _ in range(_RACES_MAX):
        last = await tape.last(actor)
        try:
            return await tape.append(actor, decision, expected=last.seq if last else 0)
        except LostRace:
            continue
    raise Failure(f"somebody else keeps writing as {actor}: try again later", Exit.IN_THE_WAY)


def session_pid(config: Config) -> int | None:
    """The process that runs a session on this tape, on this machine; 0 where it does not say who it is."""
    path = folder(config) / f"{config.tape}.session"
    try:
        with path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = lock.read().strip()
                return int(text) if text.isdecimal() else 0
    except OSError:
        return None
    return None


def now() -> int:
    return time.time_ns() // 1000
