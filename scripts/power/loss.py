"""The loss window of every durability tier: the power of all its machines goes at once, amid steady appends.

What was acknowledged before the cut is compared with what the tape holds when the servers are back.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from events.control import BotPaused
from events.decision import Decision, digest_of
from events.tape import Tape, TapeError
from infra.services.nats import NatsCluster, NatsServer
from infra.tapes.file import FileTape
from infra.tapes.jetstream import JetStreamTape
from infra.tapes.segments import Fsync
from scripts.power.disk import Disk

ACTORS = 4
RATE = 200.0  # appends a second: that of a busy live session


class Tier(msgspec.Struct, frozen=True):
    """`sync`: the server's `sync_interval` (None: its own), or how a file tape syncs. `replicas` 0: a file tape."""

    name: str
    replicas: int
    sync: str | None = None


class Acked(msgspec.Struct, frozen=True):
    """One acknowledged append: `at` and `took` in seconds."""

    seq: int
    id: str
    at: float
    took: float


class Loss(msgspec.Struct, frozen=True):
    """What one cut took. `holes`: lost ones in front of one that is there; `end`: the tape's end afterwards."""

    tier: str
    acked: int
    lost: int
    lost_s: float
    holes: int
    changed: int
    end: int
    rate: float
    p50_ms: float
    p99_ms: float
    back_s: float


def decision(actor: str, number: int) -> Decision:
    ts = 1_700_000_040_000_000 + number
    return Decision(digest_of(f"{actor} {number}".encode()), number, "", ts, (BotPaused(actor, ts, "x" * 200),))


class Writers:
    """Appends as four actors; `acked` is what they were told."""

    def __init__(self, tape: Tape, rate: float | None, name: str = "w") -> None:
        self.acked: list[Acked] = []
        self._tape = tape
        self._pause = 0.0 if rate is None else ACTORS / rate
        self._tasks = [asyncio.ensure_future(self._write(f"bot.{name}{number}")) for number in range(ACTORS)]

    async def _write(self, actor: str) -> None:
        expected, number, due = 0, 0, time.monotonic() + random.random() * self._pause
        while True:
            number += 1
            entry = decision(actor, number)
            began = time.monotonic()
            expected = await self._tape.append(actor, entry, expected=expected)
            now = time.monotonic()
            self.acked.append(Acked(expected, entry.id, now, now - began))
            due += self._pause
            await asyncio.sleep(max(0.0, due - now) if self._pause else 0)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def loss(tier: str, acked: Sequence[Acked], found: dict[int, str], cut_at: float, back_s: float) -> Loss:
    """Compares; `found` is the id at each sequence after the cut."""
    end = max(found, default=0)
    lost = [one for one in acked if found.get(one.seq) != one.id]
    ids = set(found.values())
    holes = [one for one in lost if one.seq <= end]
    first = min((one.at for one in lost), default=cut_at)
    took = sorted(one.took * 1000 for one in acked)
    span = acked[-1].at - acked[0].at
    return Loss(
        tier, len(acked), len(lost), round(cut_at - first, 2), len([one for one in holes if one.id not in ids]),
        len([one for one in holes if one.id in ids]), end, round(len(acked) / span), round(statistics.median(took), 3),
        round(took[int(len(took) * 0.99)], 3), round(back_s, 2),
    )  # fmt: skip


@asynccontextmanager
async def served(tier: Tier, folder: Path) -> AsyncIterator[tuple[Any, str]]:
    """The servers of a tier, below `folder`, and their URL."""
    if tier.replicas == 3:
        async with NatsCluster(folder, sync_interval=tier.sync) as cluster:
            yield cluster.servers, ",".join(cluster.urls)
    else:
        async with NatsServer(folder / "1", sync_interval=tier.sync) as server:
            yield (server,), server.url


async def cut_servers(tier: Tier, folder: Path, rate: float | None, seconds: float, power: bool = True) -> Loss:
    """`power` False: the processes are killed, the machine goes on."""
    with ExitStack() as stack:
        disks = [stack.enter_context(Disk(folder / str(n + 1))) for n in range(tier.replicas)]
        async with served(tier, folder) as (servers, url):
            tape = await JetStreamTape.connect(url, "main", replicas=tier.replicas)
            writers = Writers(tape, rate)
            await asyncio.sleep(seconds)
            acked, cut_at = list(writers.acked), time.monotonic()
            for disk in disks if power else ():
                disk.cut()
            await asyncio.gather(*(server.kill() for server in servers))
            await writers.stop()
            with suppress(OSError):
                await tape.close()
        for disk in disks if power else ():
            disk.restore()
        began = time.monotonic()
        async with served(tier, folder) as (_, url):
            found = await _ids(url, tier.replicas)
            back_s = time.monotonic() - began
        return loss(tier.name, acked, found, cut_at, back_s)


async def _ids(url: str, replicas: int) -> dict[int, str]:
    tape = await JetStreamTape.connect(url, "main", replicas=replicas)  # as a session opens it
    found = {entry.seq: entry.decision.id async for entry in tape.read()}
    await tape.close()
    return found


async def cut_file(tier: Tier, folder: Path, rate: float | None, seconds: float) -> Loss:
    """The same with a file tape, written by a process of its own."""
    with Disk(folder / "1") as disk:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        writer = context.Process(target=_write_file, args=(theirs, disk.folder, tier.sync, rate))
        writer.start()
        theirs.close()
        acked: list[Acked] = []
        deadline = None
        while deadline is None or time.monotonic() < deadline:
            while ours.poll(0.01):
                acked += ours.recv()
                deadline = deadline or time.monotonic() + seconds
            await asyncio.sleep(0)
        cut_at = time.monotonic()
        disk.cut()
        writer.kill()
        writer.join()
        disk.restore()
        began = time.monotonic()
        tape = FileTape(disk.folder, "main")
        found = {entry.seq: entry.decision.id async for entry in tape.read()}
        back_s = time.monotonic() - began
        with suppress(TapeError):
            await tape.close()
        return loss(tier.name, acked, found, cut_at, back_s)


def _write_file(told: Connection, folder: Path, sync: Fsync, rate: float | None) -> None:
    async def write() -> None:
        writers = Writers(FileTape(folder, "main", fsync=sync), rate)
        sent = 0
        while True:
            await asyncio.sleep(0.002)
            if new := writers.acked[sent:]:
                sent += len(new)
                told.send(new)

    asyncio.run(write())


async def measured(tier: Tier, rate: float | None, seconds: float, power: bool) -> Loss:
    """One cut of one tier, in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tape-power-"))
    try:
        if tier.replicas:
            return await cut_servers(tier, folder, rate, seconds, power)
        return await cut_file(tier, folder, rate, seconds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


TIERS = (
    Tier("standard, 2m", 1, "2m"),
    Tier("standard, 10s", 1, "10s"),
    Tier("standard, 1s", 1, "1s"),
    Tier("standard, 100ms", 1, "100ms"),
    Tier("replicated, 2m", 3, "2m"),
    Tier("replicated, 1s", 3, "1s"),
    Tier("replicated, always", 3, "always"),
    Tier("always", 1, "always"),
    Tier("file always", 0, "always"),
    Tier("file interval", 0, "interval"),
    Tier("file close", 0, "close"),
)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="*", default=[], metavar="TIER", help="names that begin so")
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="before the cut, and up to a quarter more")
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--kill", action="store_true", help="kill the processes, leave the machines their power")


async def main(chosen: argparse.Namespace) -> int:
    """Prints a line for each cut. 1 where `always` lost something, or something is missing or changed in the middle."""
    bad = False
    say(f"{'tier':20} {'acked':>7} {'lost':>7} {'lost s':>7} {'holes':>6} {'moved':>6} {'p50 ms':>7} {'p99 ms':>7}")
    for tier in TIERS:
        if chosen.only and not any(tier.name.startswith(name) for name in chosen.only):
            continue
        for _ in range(chosen.cuts):
            seconds = chosen.seconds * random.uniform(1, 1.25)
            found = await measured(tier, chosen.rate, seconds, not chosen.kill)
            say(
                f"{found.tier:20} {found.acked:7} {found.lost:7} {found.lost_s:7} {found.holes:6} {found.changed:6} "
                f"{found.p50_ms:7} {found.p99_ms:7}"
            )  # fmt: skip
            bad |= bool(found.holes or found.changed or (found.lost and ("always" in tier.name or chosen.kill)))
    return int(bad)
