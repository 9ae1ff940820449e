"""The services of a data folder: started by whoever asks first, found by the others, recovered after a crash."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import msgspec

from infra.services import admission, discovery, nats, nats_client, postgres, secrets, sql_roles
from infra.services.certificates import Certificate, certificate
from infra.services.discovery import Endpoints, Running
from infra.services.keeping import keeping
from infra.services.nats import NatsCluster, NatsServer
from infra.services.postgres import PostgresServer
from infra.services.settings import ServiceError, ServiceSettings, is_loopback
from infra.services.sql_roles import PROJECTOR, VIEWER

_RETRY_S = 0.02
_SHARED = (
    "durability", "sync_interval", "nats_url", "nats_secrets", "nats_listen", "postgres_dsn", "postgres_settings",
)  # fmt: skip
SYNC_INTERVAL = "1s"  # of no measurable cost beside the server's own 2 minutes; see infra/tapes/README.md
# An owner's clean stop: the servers' own patience, 30 and 60 s, is added to the time a start may take.
_STOP_S = 90.0


def discover(data_dir: Path) -> Endpoints | None:
    """Where the embedded services of `data_dir` run now, or None; starts nothing."""
    running = discovery.read(_resolved(data_dir))
    return running.endpoints if running is not None and running.alive() else None


@asynccontextmanager
async def embedded(
    data_dir: Path, settings: ServiceSettings | None = None, tape: str = "main"
) -> AsyncIterator[Endpoints]:
    """Yields the endpoints of NATS and PostgreSQL for `data_dir`. `tape` is made known to an embedded bus.

    The first process starts the servers that the settings do not replace and stops them at the end; on Linux they
    also end when the thread that entered here ends. Any other process attaches, and leaves them running.
    Raises ServiceError, one sentence, for whatever keeps them from running.
    """
    wanted = settings or ServiceSettings()
    home = _resolved(data_dir)
    await _check_external(wanted)
    if wanted.nats_url is not None and wanted.postgres_dsn is not None:
        yield _external(wanted, wanted.postgres_dsn)
        return
    _make_folder(home)
    deadline = time.monotonic() + wanted.start_timeout_s + _STOP_S
    while True:
        with discovery.ownership(home) as owner:
            if owner:
                async with _owned(home, wanted, tape) as endpoints:
                    yield endpoints
                return
        if (running := _attach(home, wanted)) is not None:
            await admission.admit(home, running, tape)
            yield running.endpoints
            return
        if time.monotonic() > deadline:
            raise ServiceError(_stuck(home))
        await asyncio.sleep(_RETRY_S)


def _resolved(data_dir: Path) -> Path:
    return data_dir.expanduser().resolve()


def _make_folder(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
            raise PermissionError("no permission to write")
    except OSError as error:
        raise ServiceError(f'The data folder "{home}" cannot be used: {error.strerror or error}.') from None


async def _check_external(settings: ServiceSettings) -> None:
    if settings.nats_url is not None:
        await nats_client.check_external(
            _urls(settings.nats_url), secrets.access(settings.nats_secrets, "viewer", settings.nats_ca)
        )
    if settings.postgres_dsn is not None:
        await postgres.check_external(settings.postgres_dsn)


def _urls(nats_url: str) -> list[str]:
    return [url.strip() for url in nats_url.split(",") if url.strip()]


def _replicas(settings: ServiceSettings) -> int:
    return nats.CLUSTER_SIZE if settings.durability == "replicated" else 1


def _external(settings: ServiceSettings, dsn: str) -> Endpoints:
    urls = tuple(_urls(settings.nats_url or ""))
    return Endpoints(
        urls,
        settings.nats_monitor_url,
        dsn,
        _replicas(settings),
        settings.postgres_view_dsn or dsn,
        settings.nats_secrets,
        settings.nats_ca,
    )


def _attach(home: Path, wanted: ServiceSettings) -> Running | None:
    """What a living owner offers, or None while it starts or stops."""
    running = discovery.read(home)
    if running is None or not running.alive():
        return None
    for name in _SHARED:
        has, asked = getattr(running.settings, name), getattr(wanted, name)
        if has != asked:
            shown = "" if name == "postgres_dsn" else f" {has!r}, not {asked!r}"  # a DSN may hold a password
            raise ServiceError(
                f'The services of "{home}" already run (process {running.owner_pid}) with another {name}{shown}; '
                "use the same settings or stop that process first."
            )
    return running


def _stuck(home: Path) -> str:
    running = discovery.read(home)
    who = f"process {running.owner_pid}" if running is not None else "another process"
    return f'The services of "{home}" belong to {who}, but do not run; stop that process and start again.'


@asynccontextmanager
async def _owned(home: Path, settings: ServiceSettings, tape: str = "main") -> AsyncIterator[Endpoints]:
    await _recover(home)
    _refuse_other_tier(home, settings)
    if settings.nats_url is None:
        admission.adopt(home)
    bus = None if settings.nats_url is not None else _bus(home, settings, admission.accounts_for(home, tape))
    database = None if settings.postgres_dsn is not None else _database(home, settings)
    async with AsyncExitStack() as stack:
        parts = [part for part in (bus, database) if part is not None]
        for part in parts:
            stack.push_async_callback(part.stop)
        outcomes = await asyncio.gather(*(part.start() for part in parts), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        if database is not None:
            await sql_roles.ensure(database.dsn, secrets.make_folder(home))
        running = _running(home, settings, bus, database)
        discovery.write(home, running)
        stack.callback(discovery.erase, home)
        servers = [*(bus.servers if isinstance(bus, NatsCluster) else (bus,)), database]
        kept = [server for server in servers if server is not None]
        again = partial(_say_again, home, settings, bus, database)
        await stack.enter_async_context(keeping(kept, again))
        yield running.endpoints


def _say_again(
    home: Path, settings: ServiceSettings, bus: NatsServer | NatsCluster | None, database: PostgresServer | None
) -> None:
    discovery.write(home, _running(home, settings, bus, database))  # with the new processes


async def _recover(home: Path) -> None:
    """Ends what a dead owner left running. The caller holds the lock, so no living owner is hit."""
    discovery.erase(home)
    folders = [home / "nats", *((home / "cluster" / str(index + 1)) for index in range(nats.CLUSTER_SIZE))]
    await asyncio.gather(*(nats.end_orphans(folder) for folder in folders), postgres.end_orphans(home / "postgres"))


def _refuse_other_tier(home: Path, settings: ServiceSettings) -> None:
    """A tape written by one server is not seen by the cluster, nor the other way round: better to say so."""
    replicated = settings.durability == "replicated"
    other = home / ("nats" if replicated else "cluster")
    if settings.nats_url is None and any(other.glob("**/jetstream/*/streams/*")):
        named = "not replicated" if replicated else "replicated"
        raise ServiceError(
            f'"{home}" holds streams that were written {named}, which durability "{settings.durability}" would not '
            "see; use the former durability or another data folder."
        )


def _certificate(home: Path, settings: ServiceSettings) -> Certificate | None:
    """None on loopback, where nobody can listen in."""
    far = not is_loopback(settings.nats_listen)
    return certificate(secrets.make_folder(home), settings.nats_listen) if far else None


def _bus(home: Path, settings: ServiceSettings, accounts: Callable[[], str]) -> NatsServer | NatsCluster:
    made = _certificate(home, settings)
    if settings.durability == "replicated":
        return NatsCluster(
            home / "cluster",
            binary=settings.nats_binary,
            port=settings.nats_port,
            monitor_port=settings.nats_monitor_port,
            sync_interval=settings.sync_interval or SYNC_INTERVAL,
            accounts=accounts,
            host=settings.nats_listen,
            certificate=made,
            start_timeout_s=settings.start_timeout_s,
        )
    return NatsServer(
        home / "nats",
        binary=settings.nats_binary,
        port=settings.nats_port,
        monitor_port=settings.nats_monitor_port,
        sync_interval="always" if settings.durability == "always" else settings.sync_interval or SYNC_INTERVAL,
        accounts=accounts,
        host=settings.nats_listen,
        certificate=made,
        start_timeout_s=settings.start_timeout_s,
    )


def _database(home: Path, settings: ServiceSettings) -> PostgresServer:
    return PostgresServer(
        home / "postgres",
        bin_dir=settings.postgres_bin_dir,
        port=settings.postgres_port,
        settings=settings.postgres_settings,
        start_timeout_s=settings.start_timeout_s,
    )


def _running(
    home: Path, settings: ServiceSettings, bus: NatsServer | NatsCluster | None, database: PostgresServer | None
) -> Running:
    members = bus.servers if isinstance(bus, NatsCluster) else (bus,) if bus is not None else ()
    servers = [(member.pid, "-c", str(member.config)) for member in members]
    if database is not None:
        servers.append((database.pid, "-D", str(database.data)))
    urls = tuple(member.url for member in members) or tuple(_urls(settings.nats_url or ""))
    monitor = bus.monitor_url if bus is not None else settings.nats_monitor_url
    where = secrets.folder(home)
    if database is not None:
        writing, reading = (sql_roles.address(where, role, database.port) for role in (PROJECTOR, VIEWER))
    else:
        writing = str(settings.postgres_dsn)
        reading = settings.postgres_view_dsn or writing
    made = None if bus is None else _certificate(home, settings)
    ca = settings.nats_ca if made is None else made.ca
    keys = str(where) if bus is not None else settings.nats_secrets
    endpoints = Endpoints(urls, monitor, writing, _replicas(settings), reading, keys, ca)
    return Running(os.getpid(), settings, endpoints, tuple(servers))


@asynccontextmanager
async def bus_alone(data_dir: Path, settings: ServiceSettings, tape: str) -> AsyncIterator[Endpoints | None]:
    """The bus without the database, for one command; None where another process owns the folder.

    It is announced nowhere: who starts the services meanwhile waits until it has ended. Raises ServiceError.
    """
    home = _resolved(data_dir)
    _make_folder(home)
    with discovery.ownership(home) as owner:
        if not owner:
            yield None
            return
        await _recover(home)
        _refuse_other_tier(home, settings)
        admission.adopt(home)
        bus = _bus(home, settings, admission.accounts_for(home, tape))
        try:
            await bus.start()
            yield _running(home, msgspec.structs.replace(settings, postgres_dsn=""), bus, None).endpoints
        finally:
            await bus.stop()
