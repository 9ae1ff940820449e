"""Two sessions on one tape: however the first ends, and whatever is away when the second comes, nothing is doubled.

Two data folders on one bus are two machines. The first trades in lock-step, the second stands by with `--standby`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from infra.services.nats import NatsCluster, NatsServer
from infra.services.postgres import PostgresServer
from infra.session.lease import standing_on
from infra.tapes.jetstream import JetStreamTape
from scripts.chaos.stack import name
from scripts.parity import descendants, kill_everything
from scripts.power.judging import Judged, judged
from scripts.power.loss import say
from tests.session.command import Running, Tape
from tests.session.looking import entries
from tests.session.market import config, feeds

TAPE = "pairs"
READY_S = 300.0  # to start a session on a busy machine
AWAY_S = 5.0
SILENT_S = 60.0  # while Ray starts, Python stands still: on a busy machine for longer than the 10 s of a session


class Stage(msgspec.Struct):
    """What a case plays with. `servers`: one, or three."""

    servers: NatsServer | NatsCluster
    one: Tape
    two: Tape
    words: list[str]
    url: str
    tape: JetStreamTape | None = None

    async def looked(self) -> JetStreamTape:
        """The tape, when there is one."""
        deadline = time.monotonic() + READY_S
        while self.tape is None:
            try:
                self.tape = await JetStreamTape.connect(self.url, TAPE, create=False)
            except Exception:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
        return self.tape

    async def epoch(self) -> int:
        return (await standing_on(await self.looked())).epoch

    async def fed(self, after: int = 0) -> int:
        return len(await entries(await self.looked(), ["feed.*.*.candle"], after))

    async def trades(self, running: Running) -> None:
        tape = await self.looked()
        await running.eventually(lambda: entries(tape, ["account.*.fill"]), "trades")

    def first(self) -> list[str]:
        return ["run", *self.words, "--lockstep", "--plain"]

    def second(self) -> list[str]:
        return [*self.first(), "--standby"]


class Figures(msgspec.Struct):
    """Seconds from the end of the first: until the second had claimed the tape, and until its first candle."""

    case: str
    claimed_s: float = 0.0
    played_s: float = 0.0
    codes: tuple[int, int] = (0, 0)
    judged: Judged = msgspec.field(default_factory=Judged)


@asynccontextmanager
async def staged(folder: Path, bars: int, replicas: int) -> AsyncIterator[Stage]:
    servers = NatsCluster(folder / "nats") if replicas == 3 else NatsServer(folder / "nats")
    async with servers, PostgresServer(folder / "postgres") as database:
        url = ",".join(servers.urls) if isinstance(servers, NatsCluster) else servers.url
        both = []
        for number in ("one", "two"):
            (folder / number).mkdir()
            made = config(folder / number, TAPE, url, database.dsn, processes=3)
            services = msgspec.structs.replace(made.services, durability="replicated" if replicas == 3 else "standard")
            patient = msgspec.structs.replace(made.session, silent_s=SILENT_S)
            both.append(Tape(folder / number, msgspec.structs.replace(made, services=services, session=patient)))
        stage = Stage(servers, both[0], both[1], feeds(folder, bars), url)
        try:
            yield stage
        finally:
            if stage.tape is not None:
                await stage.tape.close()


async def until(what: Callable[[], Awaitable[bool]], two: Running, about: str) -> float:
    began = time.monotonic()
    await two.eventually(what, about, READY_S)
    return round(time.monotonic() - began, 1)


async def said(running: Running, what: str) -> bool:
    return what in running.said()


async def taken_over(stage: Stage, two: Running, found: Figures, epoch: int = 2) -> None:
    """The second one's way from the end of the first to its first candle."""
    end = await (await stage.looked()).end()

    async def claimed() -> bool:
        return await stage.epoch() >= epoch

    async def plays() -> bool:
        return await stage.fed(end) > 0

    found.claimed_s = await until(claimed, two, "claim")
    found.played_s = round(found.claimed_s + await until(plays, two, "candle"), 1)


@asynccontextmanager
async def waiting(stage: Stage) -> AsyncIterator[tuple[Running, Running]]:
    """The first trades, the second stands by. It comes while the Ray of the first is not up yet."""
    with stage.one.beside(*stage.first()) as one:
        while await stage.epoch() == 0:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
        with stage.two.beside(*stage.second()) as two:
            await until(lambda: said(two, "trades on tape"), two, "word that it stands by")
            await stage.trades(one)
            yield one, two


async def stopped(stage: Stage, found: Figures) -> None:
    """SIGTERM: the first ends cleanly."""
    async with waiting(stage) as (one, two):
        one.child.send_signal(signal.SIGTERM)
        first = await asyncio.to_thread(one.ended)
        await taken_over(stage, two, found)
        found.codes = (first.code, (await asyncio.to_thread(two.ended)).code)


async def led(stage: Stage, found: Figures) -> None:
    """Three servers: the leader of the tape is killed while the first trades, then the first."""
    assert isinstance(stage.servers, NatsCluster)
    async with waiting(stage) as (one, two):
        tape = await stage.looked()
        leader = (await tape.bus.ask(f"STREAM.INFO.{TAPE}"))["cluster"]["leader"]
        lost = next(server for server in stage.servers.servers if server.name == leader)
        await lost.kill()
        before = await stage.fed()
        await one.eventually(lambda: _more(stage, before), "market without the leader")
        await lost.start()
        kill_everything(one.child.pid)
        one.child.wait()
        await taken_over(stage, two, found)
        found.codes = (-signal.SIGKILL, (await asyncio.to_thread(two.ended)).code)


async def _more(stage: Stage, before: int) -> bool:
    return await stage.fed() > before + 20


async def ray_down(stage: Stage, found: Figures) -> None:
    """The second comes when the first has just lost its raylet: it waits, and the first goes on."""
    with stage.one.beside(*stage.first()) as one:
        await stage.trades(one)
        raylet = next(pid for pid in descendants(one.child.pid) if name(pid) == "raylet")
        os.kill(raylet, signal.SIGKILL)
        with stage.two.beside(*stage.second()) as two:
            await until(lambda: said(two, "trades on tape"), two, "word that it stands by")
            before = await stage.fed()
            await one.eventually(lambda: _more(stage, before), "market after Ray was started again")
            found.judged.wrong += [] if await stage.epoch() == 1 else ["the second took over from one that lives"]
            kill_everything(one.child.pid)
            one.child.wait()
            await taken_over(stage, two, found)
            found.codes = (-signal.SIGKILL, (await asyncio.to_thread(two.ended)).code)


async def bus_down(stage: Stage, found: Figures) -> None:
    """The second comes when the bus has just died, the first dies before the bus is back."""
    assert isinstance(stage.servers, NatsServer)
    with stage.one.beside(*stage.first()) as one:
        await stage.trades(one)
        await stage.servers.kill()
        with stage.two.beside(*stage.second()) as two:
            await until(lambda: said(two, "No NATS server answers"), two, "word that the bus is away")
            kill_everything(one.child.pid)
            one.child.wait()
            await asyncio.sleep(AWAY_S)
            await stage.servers.start()
            await taken_over(stage, two, found)
            found.codes = (-signal.SIGKILL, (await asyncio.to_thread(two.ended)).code)


CASES = {
    "stopped": (stopped, 1),
    "bus": (bus_down, 1),
    "ray": (ray_down, 1),
    "led": (led, 3),
}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", choices=CASES, nargs="*", default=[*CASES])
    parser.add_argument("--bars", type=int, default=3_000, help="of each of two symbols")


async def main(chosen: argparse.Namespace) -> int:
    bad = False
    for case in chosen.case:
        play, replicas = CASES[case]
        folder, found = Path(tempfile.mkdtemp(prefix="tape-pairs-")), Figures(case)
        try:
            async with staged(folder, chosen.bars, replicas) as stage:
                await play(stage, found)
                wrong = [*found.judged.wrong]
                found.judged = await judged(await stage.looked(), stage.one, stage.words, calm=case != "stopped")
                found.judged.wrong += wrong
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        say(msgspec.json.encode(found).decode())
        bad |= bool(found.judged.wrong) or found.codes[1] != 0 or found.codes[0] not in (0, -signal.SIGKILL)
    return int(bad)
