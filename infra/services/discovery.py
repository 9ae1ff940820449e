"""Who runs the services of a data folder: a lock that dies with its holder, and a file that says where they are."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import msgspec

from infra.services import process
from infra.services.secrets import access
from infra.services.settings import ServiceSettings
from infra.tapes.access import Access

_LOCK_NAME, _FILE_NAME = "services.lock", "services.json"

# POSIX locks belong to the process: a second try in the same process would succeed, so those are kept apart here.
_held_here: set[Path] = set()


class Endpoints(msgspec.Struct, frozen=True):
    """Where the services are. `replicas` is what a new stream should ask for: 1, or 3 when replicated.

    `postgres_dsn` is for who writes the tables, `postgres_view_dsn` for who reads them. `secrets`: the folder of the
    roles' keys; None where the bus has no roles.
    """

    nats_urls: tuple[str, ...]
    nats_monitor_url: str | None
    postgres_dsn: str
    replicas: int = 1
    postgres_view_dsn: str = ""
    secrets: str | None = None
    nats_ca: str | None = None

    def access(self, role: str) -> Access:
        """As what to connect to the bus."""
        return access(self.secrets, role, self.nats_ca)

    @property
    def nats(self) -> str:
        """All servers of the bus, as `JetStreamTape.connect` takes them."""
        return ",".join(self.nats_urls)

    @property
    def nats_url(self) -> str:
        return self.nats_urls[0]


class Running(msgspec.Struct, frozen=True):
    """What services.json says. `servers`: pid, and the option and path that its command line must show."""

    owner_pid: int
    settings: ServiceSettings
    endpoints: Endpoints
    servers: tuple[tuple[int, str, str], ...]

    def alive(self) -> bool:
        return all(process.is_server(pid, option, Path(target)) for pid, option, target in self.servers)


@contextmanager
def ownership(home: Path) -> Iterator[bool]:
    """Tries to become the one owner of a data folder; the kernel frees the lock however the holder ends."""
    lock = None if home in _held_here else _lock(home)
    if lock is None:
        yield False
        return
    _held_here.add(home)
    try:
        yield True
    finally:
        _held_here.discard(home)
        lock.close()


def _lock(home: Path) -> IO[bytes] | None:
    lock = (home / _LOCK_NAME).open("ab")
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def read(home: Path) -> Running | None:
    """What services.json says, or None when there is none that can be read."""
    try:
        return msgspec.json.decode((home / _FILE_NAME).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def write(home: Path, running: Running) -> None:
    """Replaces services.json at once. An address in the settings may hold a password, so only the owner may read it."""
    draft = home / f"{_FILE_NAME}.{os.getpid()}"
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        output.write(msgspec.json.format(msgspec.json.encode(running)))
    draft.replace(home / _FILE_NAME)


def erase(home: Path) -> None:
    with suppress(FileNotFoundError):
        (home / _FILE_NAME).unlink()
