"""What is disturbed: both servers behind proxies, and a session that is started again whenever it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from infra.services import admission, secrets
from infra.services.keeping import keeping
from infra.services.nats import NatsServer
from infra.services.postgres import PostgresServer
from infra.services.settings import ServiceSettings
from infra.tapes.jetstream import JetStreamTape
from scripts.chaos.disk import Disk
from scripts.chaos.proxy import Proxy
from scripts.parity import config, descendants, kill_everything

ROOT = Path(__file__).resolve().parents[2]
RESTART_S = 0.2  # what an init system waits before it starts again what has ended
POLL_S = 0.05
LOOK_S = 1.0  # a look at all processes of a machine takes tens of milliseconds
PROCESSES = 3  # market, account and bots: each is a process of its own, and a start does not take long
WAL = {"max_wal_size": "64MB", "min_wal_size": "32MB"}  # so that a small disk holds it


class Log:
    """What was done when, a line of JSON each."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._began = time.monotonic()

    def __call__(self, what: str, **more: object) -> None:
        line = {"at": round(time.monotonic() - self._began, 3), "what": what, **more}
        with self.path.open("ab") as out:
            out.write(msgspec.json.encode(line) + b"\n")


class Stack:
    """Servers, proxies and session. The locks belong to whoever takes a server away."""

    def __init__(self, folder: Path, log: Log, pace: float) -> None:
        self.folder, self.log, self.pace = folder, log, pace
        self.disks = {name: Disk(folder / name) for name in ("nats", "postgres")}
        self.config = config(folder / "data", PROCESSES)
        self.bus = NatsServer(folder / "nats" / "server", accounts=admission.accounts_for(folder, self.config.tape))
        self.database = PostgresServer(folder / "postgres" / "server", settings=WAL)
        self.bus_lock, self.database_lock, self.session_lock = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
        self.until = folder / "until"
        self.config_file = folder / "config.json"
        self.done = False
        self.surprises: list[str] = []
        self.false_starts = 0
        self.starts = 0
        self.child: subprocess.Popen[bytes] | None = None
        self._former: dict[int, str] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Servers and proxies; the session is kept by `attend`."""
        async with AsyncExitStack() as stack:
            for disk in self.disks.values():
                stack.enter_context(disk)
            await stack.enter_async_context(self.bus)
            await stack.enter_async_context(self.database)
            again = partial(self.log, "a server was started again")
            await stack.enter_async_context(keeping((self.bus, self.database), again))
            self.bus_proxy = await stack.enter_async_context(Proxy(self.bus.url))
            self.database_proxy = await stack.enter_async_context(Proxy(self.database.dsn, messages=False))
            self.config = msgspec.structs.replace(self.config, services=self._services())
            self.config_file.write_bytes(msgspec.json.encode(self.config))
            try:
                yield
            finally:
                if self.child is not None and self.child.poll() is None:
                    kill_everything(self.child.pid)
                    self.child.wait()

    def _services(self) -> ServiceSettings:
        keys = str(secrets.folder(self.folder))
        return ServiceSettings(nats_url=self.bus_proxy.url, nats_secrets=keys, postgres_dsn=self.database_proxy.url)

    async def tape(self, patience_s: float = 60.0) -> JetStreamTape:
        """The tape, as somebody who looks at it, past the proxy."""
        access = secrets.access(str(secrets.folder(self.folder)), "viewer")
        return await JetStreamTape.connect(
            self.bus.url, self.config.tape, create=False, patience_s=patience_s, access=access
        )

    async def attend(self, fed: Callable[[], int]) -> None:
        """Keeps a session running until the market has been played, as an init system would.

        One that ends before anything was fed could not start: servers were away, or the machine too busy for Ray.
        """
        with (self.folder / "session.log").open("ab") as said:
            while not self.done:
                self.child = self._start(said)
                self.log("session starts", pid=self.child.pid)
                before, looked = fed(), 0.0
                while self.child.poll() is None:
                    if time.monotonic() - looked > LOOK_S:
                        self._remember()
                        looked = time.monotonic()
                    await asyncio.sleep(POLL_S)
                code = self.child.returncode
                self.log("session ended", code=code)
                self.done = code == 0
                if code not in (0, -signal.SIGKILL) and fed() == before:
                    self.false_starts += 1
                elif code not in (0, -signal.SIGKILL):
                    self.surprises.append(f"the session ended with exit code {code} by itself")
                await asyncio.sleep(RESTART_S)

    def _start(self, said: IO[bytes]) -> subprocess.Popen[bytes]:
        self.starts += 1
        words = ["-m", "scripts.chaos.child", str(self.config_file), str(self.pace), str(self.until)]
        return subprocess.Popen([sys.executable, *words], stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=ROOT)

    def _remember(self) -> None:
        assert self.child is not None
        for pid in descendants(self.child.pid):
            if began := started(pid):
                self._former[pid] = began

    def leftovers(self) -> list[str]:
        """Processes of sessions that have ended, which still live."""
        return [f"{pid} {words(pid)}" for pid, began in self._former.items() if alive(pid) and started(pid) == began]

    def session_pids(self, kind: str) -> list[int]:
        """Living processes of the session whose name or command line starts like that, stopped ones left out."""
        if self.child is None or self.child.poll() is not None:
            return []
        return [pid for pid in descendants(self.child.pid)[1:] if name(pid) == kind or words(pid).startswith(kind)]


def alive(pid: int) -> bool:
    return state(pid) not in ("", "Z", "X")


def state(pid: int) -> str:
    """The letter that Linux gives a process's state; '' where there is none."""
    found = _stat(pid)
    return found[0] if found else ""


def started(pid: int) -> str:
    """When it started, in the kernel's ticks, which tells it from another one with its number."""
    found = _stat(pid)
    return found[19] if found and found[0] not in "ZX" else ""


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


async def until(what: Callable[[], object], seconds: float) -> bool:
    """Polls a truth; false where it does not come."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


def killed(pid: int, number: int = signal.SIGKILL) -> bool:
    """Sends a signal to a process that lives; false where there was none to hit."""
    if not alive(pid):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
