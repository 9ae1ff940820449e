"""Asking a NATS server whether it is there, new enough, and has JetStream."""

from __future__ import annotations

import re

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from nats.js.errors import Error as JetStreamError

from events.tape import TapeError
from infra.services.settings import ServiceAway, ServiceError
from infra.tapes.access import NOBODY, Access, encrypted, shown
from infra.tapes.client import TapeClient

MIN_VERSION = (2, 12)


def version_of(text: str) -> tuple[int, int]:
    """Major and minor version in texts such as "nats-server: v2.15.1" or "2.12.0-beta.2"."""
    found = re.search(r"(\d+)\.(\d+)", text)
    if found is None:
        raise ServiceError(f'"{text.strip()[:80]}" names no version of a NATS server.')
    return int(found[1]), int(found[2])


def check_version(text: str, where: str) -> None:
    """Raises ServiceError when the version in `text` is older than the system needs."""
    if version_of(text) < MIN_VERSION:
        found = ".".join(map(str, version_of(text)))
        raise ServiceError(f"The NATS server {where} is version {found}; 2.12 or newer is needed.")


async def check_external(urls: list[str], access: Access = NOBODY) -> None:
    """Connects to servers given by URL: raises ServiceError unless one answers, is new enough and has JetStream."""
    where = shown(", ".join(urls))
    try:
        client = await connect(urls, timeout_s=5, access=access)
    except TapeError as error:
        raise ServiceError(f"{error}.") from None
    except (TimeoutError, NatsError, OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        away = isinstance(error, TimeoutError | ConnectionError | NoServersError)
        raise (ServiceAway if away else ServiceError)(f"No NATS server answers at {where}: {reason}.") from None
    try:
        check_version(str(client.connected_server_version), f"at {where}")
        await client.jetstream(prefix=access.api, timeout=5).account_info()
    except (TimeoutError, NatsError, JetStreamError):
        raise ServiceError(f"The NATS server at {where} does not offer JetStream; switch it on there.") from None
    finally:
        await client.close()


async def connect(urls: list[str], *, timeout_s: int, access: Access = NOBODY) -> Client:
    """Two tries per server. The client's own default retries a first connection for 2 minutes, and -1 for ever.

    Raises the last cause instead of the client's "no servers available".
    """
    causes: list[Exception] = []

    async def keep(error: Exception) -> None:
        causes.append(error)

    client = TapeClient()
    client.encrypted = encrypted(urls[0], access)
    try:
        await client.connect(
            urls,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=timeout_s,
            error_cb=keep,
            **access.options(),
        )
    except NoServersError as error:
        raise (causes[-1] if causes else error) from None
    return client
