"""`tape serve`: the services without trading, in the foreground, until Ctrl-C."""

from __future__ import annotations

import asyncio
import shlex
import signal

from infra.cli.context import Context
from infra.cli.exits import Exit, Failure
from infra.cli.reach import folder
from infra.cli.screen import Screen, pairs
from infra.cli.values import named
from infra.config import Config
from infra.services.discovery import Endpoints
from infra.services.embedded import discover, embedded
from infra.tapes.access import inbox, shown
from projections.schemas import name_in_sql


def addresses(config: Config, endpoints: Endpoints) -> list[tuple[str, str]]:
    """Names and values to print; no password among them."""
    found = [("NATS", shown(endpoints.nats))]
    if endpoints.nats_monitor_url:
        found.append(("NATS monitoring", endpoints.nats_monitor_url))
    return [*found, ("PostgreSQL", without_password(endpoints.postgres_view_dsn))]


def without_password(dsn: str) -> str:
    """The DSN as it may be shown."""
    from psycopg.conninfo import conninfo_to_dict

    parts = conninfo_to_dict(dsn)
    return " ".join(f"{name}={value}" for name, value in parts.items() if name != "password" and value is not None)


def address(context: Context, service: str) -> int:
    """Prints where one service is, or how the NATS CLI reaches it. A password that the configuration names is in it."""
    named("service", service, ("nats", "postgres", "monitor", "cli"))
    config = context.config()
    found = discover(folder(config))
    settings = config.services
    known = {
        "nats": found.nats_url if found else settings.nats_url,
        "postgres": found.postgres_view_dsn if found else settings.postgres_view_dsn or settings.postgres_dsn,
        "monitor": found.nats_monitor_url if found else settings.nats_monitor_url,
        "cli": nats_cli(found) if found else None,
    }
    if known[service] is None:
        raise Failure(f"{service} does not run here: start the services with `tape serve`", Exit.NO_SERVICE)
    context.screen.result({service: known[service]}, str(known[service]))
    return Exit.FINE


def nats_cli(endpoints: Endpoints) -> str:
    """The NATS CLI as the role that looks, up to its own words."""
    access = endpoints.access("viewer")
    words = ["nats", "--server", shown(endpoints.nats)]
    if access.role and access.seed:
        words += ["--nkey", access.seed, "--js-api-prefix", access.api, "--inbox-prefix", inbox(access.role)]
    if access.ca:
        words += ["--tlsca", access.ca]
    return shlex.join(words)


async def serve(context: Context) -> int:
    config, screen = context.config(), context.screen
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    with screen.working("starting the services"):
        services = embedded(folder(config), config.services)
        endpoints = await services.__aenter__()
    try:
        _tell(screen, config, endpoints)
        await ended.wait()
        screen.say("stopping the services")
    finally:
        await services.__aexit__(None, None, None)
    return Exit.FINE


def _tell(screen: Screen, config: Config, endpoints: Endpoints) -> None:
    schema, cli = name_in_sql(config.tape), nats_cli(endpoints)
    lines = [
        *addresses(config, endpoints),
        ("look at facts", f"{cli} sub --stream {config.tape} '{config.tape}.bot.*.signal'"),
        ("look at the tape", f"{cli} stream view {config.tape}"),
        (
            "look at tables",
            f"psql \"$(tape address postgres)\" -c 'select * from {schema}.performance'",
        ),
        ("end", "Ctrl-C"),
    ]
    value = {"nats_urls": [shown(url) for url in endpoints.nats_urls], "nats_monitor_url": endpoints.nats_monitor_url,
             "postgres": without_password(endpoints.postgres_view_dsn)}  # fmt: skip
    screen.result(value, pairs(lines))
