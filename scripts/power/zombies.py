"""Ray calls processes dead that still run, and starts others in their place: the first come to nothing.

Two nodes of Ray's, the second in a network namespace of its own, and a session in lock-step over both. Then Ray loses
sight of the second node, with every process on it at work: its raylet stands still, or its network is cut and heals.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import ray
from ray._raylet import GcsClientOptions

from events.control import ActorClaimed
from infra.services.nats import NatsServer
from infra.services.postgres import PostgresServer
from infra.services.process import free_ports
from infra.tapes.jetstream import JetStreamTape
from scripts.chaos.proxy import Proxy
from scripts.chaos.stack import alive, name
from scripts.parity import descendants, kill_everything
from scripts.power.judging import ACTORS, Judged, judged
from scripts.power.loss import say
from scripts.power.machines import Network, Space
from tests.session.command import Running, Tape
from tests.session.looking import entries, opened
from tests.session.market import config, feeds

TAPE = "zombies"
PROCESSES = 6  # one for each actor: some come to be on the second node
SOON = {
    "health_check_initial_delay_ms": 5_000, "health_check_period_ms": 1_000, "health_check_timeout_ms": 1_000,
    "health_check_failure_threshold": 5, "gcs_rpc_server_reconnect_timeout_s": 900,
}  # fmt: skip
READY_S = 300.0


class Figures(msgspec.Struct):
    """`zombies`: processes that lived on while others had claimed their actors, `taken_over_s` after Ray lost sight of
    them. `gone_s`: when the last of them had left the bus, from the same moment, for `cut` from the healing. `tried`:
    messages that they sent from the claims on, reports and questions included."""

    how: str
    zombies: int = 0
    taken_over_s: float = 0.0
    gone_s: float = 0.0
    tried: int = 0
    judged: Judged = msgspec.field(default_factory=Judged)


@contextmanager
def node(space: Space | None, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A node of Ray's: processes below this one."""
    argv = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=8", "--disable-usage-stats",
            "--object-store-memory=100000000", f"--temp-dir={folder}", *words]  # fmt: skip
    with (folder / "ray.log").open("ab") as log:
        child = subprocess.Popen(
            space.words(*argv) if space else argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield child
        finally:
            kill_everything(child.pid)
            child.wait()


@contextmanager
def nodes(network: Network, folder: Path) -> Iterator[tuple[Space, subprocess.Popen[bytes]]]:
    """The second one and its namespace; RAY_ADDRESS names the first."""
    where = folder / "ray"
    where.mkdir()
    (port,) = free_ports(1)  # others of this machine may have Ray's usual one, on all addresses
    address = f"{network.address}:{port}"
    os.environ |= {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled"}
    far = network.space(1)
    system = f"--system-config={msgspec.json.encode(SOON).decode()}"
    first = ["--head", f"--port={port}", f"--node-ip-address={network.address}", "--include-dashboard=false", system]
    with node(None, where, *first):
        joined(address, 1)
        with node(far, where, f"--address={address}", f"--node-ip-address={far.address}") as second:
            joined(address, 2)
            yield far, second


def joined(address: str, count: int) -> None:
    """Waits for so many nodes."""
    host, _, port = address.partition(":")
    deadline = time.monotonic() + READY_S
    state: Any = None
    while state is None or len(state.node_table()) < count:
        if time.monotonic() > deadline:
            raise AssertionError(f"Ray has not {count} nodes after {READY_S:g} s")
        time.sleep(0.2)
        if state is None:
            with suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                state = ray._private.state.GlobalState()
                state._initialize_global_state(GcsClientOptions.create(address, None, True, False))


@asynccontextmanager
async def traded(
    bars: int, folder: Path, network: Network
) -> AsyncIterator[tuple[Tape, Running, NatsServer, JetStreamTape]]:
    """A session that trades, on servers that both nodes reach."""
    async with (
        NatsServer(folder / "nats", host=network.address) as bus,
        PostgresServer(folder / "postgres") as database,
        Proxy(database.dsn, messages=False, host=network.address) as way,
    ):
        made = config(folder, TAPE, "", "", PROCESSES)
        far = msgspec.structs.replace(made.services, nats_url=bus.url, postgres_dsn=way.url, plaintext=True)
        cli = Tape(folder, msgspec.structs.replace(made, services=msgspec.convert(msgspec.to_builtins(far), type(far))))
        with cli.beside("run", *feeds(folder, bars), "--lockstep", "--plain") as running:
            async with opened(running, bus.url, TAPE) as tape:
                await running.eventually(lambda: entries(tape, ["account.*.fill"]), "trades")
                yield cli, running, bus, tape


async def claims(tape: JetStreamTape) -> dict[str, int]:
    """The process of each actor's newest claim."""
    found = {}
    for entry in await entries(tape, ACTORS):
        for fact in entry.decision.facts:
            if isinstance(fact, ActorClaimed):
                found[entry.actor] = int(fact.writer.split("/")[1])
    return found


def sent(bus: NatsServer, addresses: set[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, bool]]:
    """Messages that connections to a bus have sent, and whether they are still there."""
    found = {}
    for state in ("open", "closed"):
        for one in _listed(bus, state):
            if (place := (one["ip"], one["port"])) in addresses:
                found[place] = (one["in_msgs"], state == "open")
    return found


def connections(bus: NatsServer, ip: str) -> set[tuple[str, int]]:
    """Those of one machine."""
    return {(one["ip"], one["port"]) for one in _listed(bus, "open") if one["ip"] == ip}


def _listed(bus: NatsServer, state: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{bus.monitor_url}/connz?state={state}&limit=10000", timeout=5) as answer:
        found: list[dict[str, Any]] = msgspec.json.decode(answer.read())["connections"] or []
    return found


class Watched:
    """The second node's trading processes, and their connections."""

    def __init__(self, tape: JetStreamTape, bus: NatsServer, ip: str, pids: set[int]) -> None:
        self._tape, self._bus, self.pids = tape, bus, pids
        self.actors: set[str] = set()
        self.addresses = connections(bus, ip)

    async def lost(self) -> bool:
        """Whether others have claimed all their actors."""
        now = await claims(self._tape)
        self.actors |= {actor for actor, pid in now.items() if pid in self.pids}
        return all(now[actor] not in self.pids for actor in self.actors)

    def sent(self) -> int:
        return sum(count for count, _ in sent(self._bus, self.addresses).values())

    def on_the_bus(self) -> bool:
        return any(there for _, there in sent(self._bus, self.addresses).values())


async def until(what: Any, seconds: float, about: str) -> float:
    """Polls; how long it took."""
    began = time.monotonic()
    while not await what():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"no {about} within {seconds:g} s")
        await asyncio.sleep(0.1)
    return time.monotonic() - began


async def played(how: str, bars: int, folder: Path) -> Figures:
    found = Figures(how)
    with Network() as network, nodes(network, folder) as (far, second):
        async with traded(bars, folder, network) as (cli, running, bus, tape):
            below = descendants(second.pid)
            raylet = next(pid for pid in below if name(pid) == "raylet")
            seen = Watched(tape, bus, far.address, {pid for pid in below if name(pid).startswith("ray::Worker")})
            if await seen.lost():
                raise AssertionError("no actor was placed on the second node: run it again")
            began = time.monotonic()
            far.cut() if how == "cut" else os.kill(raylet, signal.SIGSTOP)
            await until(seen.lost, READY_S, "claim of another process")
            found.taken_over_s = round(time.monotonic() - began, 1)
            before, after = seen.sent(), await tape.end()
            found.zombies = sum(map(alive, seen.pids))
            await until(lambda: _fed(tape, after, 40), READY_S, "market after the claim")
            lived = all(map(alive, seen.pids))
            if how == "cut":
                began = time.monotonic()
                far.heal()
            await until(lambda: _gone(seen), READY_S, "end of the zombies")
            found.gone_s, found.tried = round(time.monotonic() - began, 1), seen.sent() - before
            if how != "cut":
                os.kill(raylet, signal.SIGCONT)
            ended = await asyncio.to_thread(running.ended)
            found.judged = await judged(tape, cli, feeds(folder, bars))
            found.judged.wrong += [] if lived else ["the first processes had ended before they could be zombies"]
            found.judged.wrong += [f"the session ended with {ended.code}: {running.said()}"] if ended.code else []
    return found


async def _fed(tape: JetStreamTape, after: int, count: int) -> bool:
    return len(await entries(tape, ["feed.*.*.candle"], after)) >= count


async def _gone(seen: Watched) -> bool:
    return not seen.on_the_bus()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--how", choices=("stopped", "cut"), nargs="*", default=["stopped", "cut"])
    parser.add_argument("--bars", type=int, default=500, help="of each of two symbols")
    parser.add_argument("--runs", type=int, default=1)


async def main(chosen: argparse.Namespace) -> int:
    bad = False
    for how in [how for how in chosen.how for _ in range(chosen.runs)]:
        folder = Path(tempfile.mkdtemp(prefix="tape-zombies-"))
        try:
            found = await played(how, chosen.bars, folder)
        finally:
            with suppress(KeyError):
                del os.environ["RAY_ADDRESS"], os.environ["RAY_AUTH_MODE"]
            shutil.rmtree(folder, ignore_errors=True)
        say(msgspec.json.encode(found).decode())
        bad |= bool(found.judged.wrong)
    return int(bad)
