"""Servers that end, or whose disk is full for a while, are started again; nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import psycopg
import pytest

from infra.services.keeping import keeping
from infra.services.nats import NatsServer
from infra.services.postgres import PostgresServer
from infra.tapes.jetstream import JetStreamTape
from scripts.chaos.disk import Disk
from tests.contract.making import decision

ACTOR = "feed.here.BTC-USDT"
PATIENCE_S = 120  # a server starts in 0.1 s on a quiet machine; others may be at work


async def test_servers_that_are_killed_come_back(tmp_path: Path) -> None:
    async with NatsServer(tmp_path / "nats") as bus, PostgresServer(tmp_path / "postgres") as database:
        tape = await JetStreamTape.connect(bus.url, "main")
        started = asyncio.Event()
        async with asyncio.timeout(PATIENCE_S), keeping((bus, database), started.set):
            assert await tape.append(ACTOR, decision("a", 1), expected=0) == 1
            os.kill(bus.pid, signal.SIGKILL)
            assert await tape.append(ACTOR, decision("a", 2), expected=1) == 2
            await started.wait()
            started.clear()
            os.kill(database.pid, signal.SIGKILL)
            await started.wait()
            async with await psycopg.AsyncConnection.connect(database.dsn) as connection:
                await connection.execute("SELECT 1")
        await tape.close()


async def test_a_tape_on_a_full_disk_pushes_back_and_goes_on_with_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Disk(tmp_path / "small", size_mb=64) as disk:
        if not disk.mounted:
            pytest.skip("mounting a small disk is not allowed here")
        async with NatsServer(disk.folder / "nats") as bus:
            tape = await JetStreamTape.connect(bus.url, "main")
            async with asyncio.timeout(PATIENCE_S), keeping((bus,), lambda: None):
                end = await tape.append(ACTOR, decision("a", 1), expected=0)
                disk.fill()
                waiting = asyncio.ensure_future(_filled(tape, end))
                while "are left on its disk" not in caplog.text:  # noqa: ASYNC110 - a log tells nobody
                    await asyncio.sleep(0.02)
                assert not waiting.done()
                disk.empty()
                end = await waiting
                assert await tape.append(ACTOR, decision("a", end + 1), expected=end) == end + 1
            assert [entry.seq async for entry in tape.read()] == [*range(1, end + 2)]
            await tape.close()


async def _filled(tape: JetStreamTape, end: int) -> int:
    """Appends more than fits the room that a server keeps in its open file; the last sequence."""
    for number in range(end + 1, end + 200):
        end = await tape.append(ACTOR, decision("a", number), expected=end)
    return end
