"""Which tapes the embedded bus knows: each has an account of its own, so a new one is told to the running server."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from events import subjects
from infra.services import process, roles, secrets
from infra.services.discovery import Running
from infra.services.nats_client import connect
from infra.services.nats_config import write_accounts
from infra.services.settings import ServiceError

log = logging.getLogger(__name__)

_LIST, _LOCK = "tapes.json", "tapes.lock"
_SHARED = "jetstream/$G/streams"  # of those who name no account
_POLL_S = 0.01
_PATIENCE_S = 20.0  # a server reads its configuration again in 0.1 s; on a busy machine in some seconds


def known(home: Path) -> tuple[str, ...]:
    """The tapes of a data folder. Raises ServiceError where the list cannot be read."""
    try:
        return msgspec.json.decode((home / _LIST).read_bytes(), type=tuple[str, ...])
    except FileNotFoundError:
        return ()
    except msgspec.DecodeError:
        raise ServiceError(f'"{home / _LIST}" cannot be read: write the names of the tapes as a JSON list.') from None


def accounts_for(home: Path, tape: str) -> Callable[[], str]:
    """What a server is to know whenever it starts: all tapes of the folder, also those that come later."""
    with _locked(home):
        _remember(home, tape)
    return lambda: roles.accounts(secrets.public_keys(home), known(home))


def adopt(home: Path) -> None:
    """Before the servers of `home` start: tapes that were written before each had an account of its own get theirs.

    A stream's files do not say whose they are, so one server's streams are moved. Three that replicate keep in their
    logs whose they are: raises ServiceError, which says what to do.
    """
    if found := sorted(home.glob(f"cluster/*/{_SHARED}/*")):
        raise ServiceError(
            f'"{found[0]}" was written by three servers before tapes had accounts of their own, and cannot be taken '
            f'over: with the version that wrote it, `tape export`; then move "{home / "cluster"}" away, and '
            "`tape restore`."
        )
    for stream in sorted((home / "nats").glob(f"{_SHARED}/*")):
        target = stream.parents[2] / roles.tape_account(stream.name) / "streams" / stream.name
        if target.exists():
            log.warning("the older tape in %s stays there: another of that name has begun since", stream)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        stream.rename(target)
        log.warning("the tape %s has an account of its own now", stream.name)
        with _locked(home):
            _remember(home, stream.name)


async def admit(home: Path, running: Running, tape: str) -> None:
    """Tells the embedded servers that run about a tape that is new. Raises ServiceError."""
    servers = [(pid, Path(target)) for pid, option, target in running.servers if option == "-c"]
    if not servers or tape in known(home):
        return
    with _locked(home):
        _remember(home, tape)
        text = roles.accounts(secrets.public_keys(home), known(home))
        for pid, config in servers:
            write_accounts(config.parent, text)
            if process.is_server(pid, "-c", config):
                os.kill(pid, signal.SIGHUP)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                for url in running.endpoints.nats_urls:
                    await _effective(url, running, tape)
        except (TimeoutError, NatsError, OSError) as error:
            reason = str(error) or "no answer"
            raise ServiceError(f"The NATS server does not take up the new tape {tape!r}: {reason}.") from None


async def _effective(url: str, running: Running, tape: str) -> None:
    access = running.endpoints.access("session")
    client = await connect([url], timeout_s=5, access=access)
    try:
        while True:
            try:
                await client.request(f"{access.api}.STREAM.INFO.{tape}", b"", timeout=5)
                return
            except NoRespondersError:
                await asyncio.sleep(_POLL_S)
    finally:
        await client.close()


def _remember(home: Path, tape: str) -> None:
    if tape not in known(home):
        draft = home / f".{_LIST}.{os.getpid()}"
        draft.write_bytes(msgspec.json.encode((*known(home), subjects.token(tape))))
        draft.replace(home / _LIST)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with (home / _LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
