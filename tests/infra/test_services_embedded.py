"""One data folder, several processes, any of which may be killed at any time: the services come back, data included."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from infra.services import nats as nats_module
from infra.services import postgres as postgres_module
from infra.services.admission import adopt
from infra.services.discovery import Endpoints, read
from infra.services.embedded import bus_alone, discover, embedded
from infra.services.nats import NatsServer
from infra.services.process import Account, arguments, command, until
from infra.services.settings import ServiceError, ServiceSettings
from infra.tapes.jetstream import JetStreamTape
from tests.contract.making import all_of, fill
from tests.roles import client_as

# Far above the second that a start takes: only a start that hangs fails on it.
_PATIENCE_S = 60.0

_HOLDER = """
import asyncio, json, sys
from pathlib import Path
from infra.services.embedded import embedded

async def main():
    async with embedded(Path(sys.argv[1])) as endpoints:
        print(json.dumps([endpoints.nats_url, endpoints.postgres_dsn]), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


@contextmanager
def another_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the services of `home` until its standard input closes."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with child:
        try:
            yield child
        finally:
            if child.poll() is None and child.stdin is not None:
                child.stdin.close()


def said(child: subprocess.Popen[str]) -> list[str]:
    assert child.stdout is not None
    found: list[str] = json.loads(child.stdout.readline())
    return found


async def remember(endpoints: Endpoints, value: int) -> None:
    async with client_as(endpoints, "archivist") as (_, jetstream):
        await jetstream.add_stream(name="main", subjects=["main.>"])
        await jetstream.publish("main.feed.kept", str(value).encode())
    with psycopg.connect(endpoints.postgres_dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (value int)")
        connection.execute("INSERT INTO kept VALUES (%s)", (value,))


async def remembered(endpoints: Endpoints) -> tuple[list[int], list[int]]:
    async with client_as(endpoints, "viewer") as (_, jetstream):
        count = (await jetstream.stream_info("main")).state.messages
        messages = [await jetstream.get_msg("main", number) for number in range(1, count + 1)]
    with psycopg.connect(endpoints.postgres_dsn) as connection:
        rows = connection.execute("SELECT value FROM kept ORDER BY value").fetchall()
    return [int(message.data or b"") for message in messages], [int(row[0]) for row in rows]


async def test_data_survive_a_restart_and_nothing_is_left_running(tmp_path: Path) -> None:
    for value in (1, 2):
        async with embedded(tmp_path) as endpoints:
            await remember(endpoints, value)
            running = read(tmp_path)
            assert discover(tmp_path) == endpoints
        assert running is not None
        assert all(arguments(pid) == [] for pid, _, _ in running.servers)
        assert discover(tmp_path) is None
    async with embedded(tmp_path) as endpoints:
        assert await remembered(endpoints) == ([1, 2], [1, 2])


async def test_the_servers_listen_on_loopback_only_and_secrets_are_private(tmp_path: Path) -> None:
    async with embedded(tmp_path) as endpoints:
        assert endpoints.nats_url.startswith("nats://127.0.0.1:")
        told = (tmp_path / "postgres" / "data" / "postgresql.conf").read_text()
        assert "listen_addresses = '127.0.0.1'" in told
        assert "unix_socket_directories = ''" in told
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(endpoints.postgres_dsn, password="guess")
        for private in ("services.json", "postgres/password"):
            assert (tmp_path / private).stat().st_mode & 0o077 == 0


async def test_a_second_process_attaches_and_leaves_them_running(tmp_path: Path) -> None:
    async with embedded(tmp_path) as endpoints:
        with another_process(tmp_path) as other:
            assert said(other) == [endpoints.nats_url, endpoints.postgres_dsn]
        assert other.returncode == 0
        await remember(endpoints, 1)
        async with embedded(tmp_path) as same:
            assert same == endpoints
        assert await remembered(endpoints) == ([1], [1])


async def test_processes_that_start_together_share_one_pair(tmp_path: Path) -> None:
    with another_process(tmp_path) as first, another_process(tmp_path) as second, another_process(tmp_path) as third:
        assert said(first) == said(second) == said(third)
        assert len(nats_module.living(tmp_path / "nats")) == 1
        assert len(postgres_module.living(tmp_path / "postgres")) == 1


@pytest.mark.parametrize("victims", ["owner", "everything"])
async def test_start_after_sigkill(tmp_path: Path, victims: str) -> None:
    async with embedded(tmp_path) as endpoints:
        await remember(endpoints, 1)
    with another_process(tmp_path) as owner:
        said(owner)
        running = read(tmp_path)
        assert running is not None
        assert running.owner_pid == owner.pid
        owner.kill()
        if victims == "everything":
            for pid, _, _ in running.servers:
                os.kill(pid, signal.SIGKILL)
    async with embedded(tmp_path) as endpoints:
        await remember(endpoints, 2)
        assert await remembered(endpoints) == ([1, 2], [1, 2])


async def test_orphans_that_outlived_their_owner_are_ended(tmp_path: Path) -> None:
    """As on systems without a signal at the parent's death: servers run on, nobody holds the lock."""
    async with embedded(tmp_path):
        pass
    bus, database = nats_module.NatsServer(tmp_path / "nats"), postgres_module.PostgresServer(tmp_path / "postgres")
    async with bus, database:
        orphans = [bus.pid, database.pid]
        async with embedded(tmp_path) as endpoints:
            await remember(endpoints, 1)
            assert not {pid for pid, _, _ in (read(tmp_path) or pytest.fail("no file")).servers} & set(orphans)
            assert all(arguments(pid) == [] for pid in orphans)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals children at their parent's death")
async def test_servers_end_with_their_owner(tmp_path: Path) -> None:
    with another_process(tmp_path) as owner:
        said(owner)
        running = read(tmp_path)
        assert running is not None
        owner.kill()
    assert await until(lambda: not any(arguments(pid) for pid, _, _ in running.servers), _PATIENCE_S)


def _bystander(file: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["tail", "-f", str(file)], stdout=subprocess.DEVNULL)


async def test_files_of_a_reused_pid_or_another_program_hit_nobody(tmp_path: Path) -> None:
    """A stale lock file names a living process that is not ours; an editor has our configuration open."""
    async with embedded(tmp_path) as endpoints:
        await remember(endpoints, 1)
    bystander = _bystander(tmp_path / "nats" / "nats.conf")
    try:
        (tmp_path / "postgres" / "data" / "postmaster.pid").write_text(f"{bystander.pid}\n{tmp_path}\n")
        (tmp_path / "services.json").write_text("{torn")
        async with embedded(tmp_path) as endpoints:
            assert await remembered(endpoints) == ([1], [1])
            assert bystander.poll() is None
    finally:
        bystander.terminate()
        bystander.wait()


async def test_attaching_with_another_durability_is_refused(tmp_path: Path) -> None:
    async with embedded(tmp_path):
        with pytest.raises(ServiceError, match=r"already run.*durability 'standard', not 'always'"):
            async with embedded(tmp_path, ServiceSettings(durability="always")):
                pass


async def test_a_tape_of_the_other_tier_is_not_silently_empty(tmp_path: Path) -> None:
    async with embedded(tmp_path) as endpoints:
        await remember(endpoints, 1)
    with pytest.raises(ServiceError, match="streams that were written not replicated"):
        async with embedded(tmp_path, ServiceSettings(durability="replicated")):
            pass


async def test_servers_given_by_address_replace_the_embedded_ones(
    tmp_path: Path, nats_url: str, postgres_dsn: str
) -> None:
    settings = ServiceSettings(nats_url=nats_url, postgres_dsn=postgres_dsn)
    async with embedded(tmp_path / "untouched", settings) as endpoints:
        assert (endpoints.nats_urls, endpoints.postgres_dsn) == ((nats_url,), postgres_dsn)
    assert not (tmp_path / "untouched").exists()
    async with embedded(tmp_path, ServiceSettings(nats_url=nats_url)) as endpoints:
        assert endpoints.nats_url == nats_url
        assert not (tmp_path / "nats").exists()
        with psycopg.connect(endpoints.postgres_dsn) as connection:
            assert connection.info.server_version >= 150_000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_it_works_as_root_and_as_a_normal_user(tmp_path: Path) -> None:
    """`nobody` may enter folders on the way here, as the interpreter may lie where only root can."""
    asyncio.run(_start_and_stop(tmp_path / "root"))
    home = tmp_path / "user"
    home.mkdir()
    os.chown(home, 65_534, 65_534)
    argv = command([sys.executable, "-c", _HOLDER, str(home)], account=Account(65_534, 65_534, reach=True))
    done = subprocess.run(argv, input="", capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0].startswith("nats://127.0.0.1:")
    assert (home / "postgres" / "data").stat().st_uid == 65_534


async def _start_and_stop(home: Path) -> None:
    async with embedded(home) as endpoints:
        await remember(endpoints, 1)


async def test_tapes_of_versions_without_accounts_are_taken_over(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with NatsServer(home / "nats") as earlier:
        written = await JetStreamTape.connect(earlier.url, "main")
        await fill(written, ["bot.ema"], 9)
        before = await all_of(written.read())
        await written.close()
    for _ in range(2):  # the second time there is nothing to take over
        async with bus_alone(home, ServiceSettings(), "another") as endpoints:
            assert endpoints is not None
            tape = await JetStreamTape.connect(endpoints.nats_url, "main", create=False, access=endpoints.access("bot"))
            assert await all_of(tape.read()) == before
            await fill(tape, ["bot.ema"], 1, start=9)
            before = await all_of(tape.read())
            await tape.close()


def test_what_cannot_be_taken_over_is_said(tmp_path: Path) -> None:
    (tmp_path / "cluster" / "1" / "jetstream" / "$G" / "streams" / "main").mkdir(parents=True)
    with pytest.raises(ServiceError, match="cannot be taken over"):
        adopt(tmp_path)
