"""Eight writers at a time race for one actor, while leaders are killed and machines are cut off and healed.

Every writer names what it believes to be last, and its message says so as well. At the end the stream must be one
unbroken chain, and each writer must have been told exactly what stands there.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from events import subjects
from events.control import BotPaused
from events.decision import Decision, digest_of
from events.tape import LostRace
from infra.services.nats import NatsServer
from infra.tapes.jetstream import JetStreamTape, OutcomeUnknown
from scripts.power.loss import say
from scripts.power.machines import Machines

WRITERS = 8
TAPE = "raced"


class Told:
    """What all writers tried and were told."""

    def __init__(self) -> None:
        self.attempts = 0
        self.won: dict[str, dict[int, str]] = {}
        self.lost = 0
        self.unknown = 0
        self.unclaimed: set[str] = set()
        self.overtaken = 0
        self.unclear: Counter[str] = Counter()
        self.resolved = 0
        self.faults: Counter[str] = Counter()


class Raced(JetStreamTape):
    """Counts the answers that were no clean ack."""

    told: Told
    troubled: Counter[str]

    async def _send(self, subject: str, body: bytes, headers: bytes) -> tuple[int, str]:
        seq, trouble = await super()._send(subject, body, headers)
        if not seq:
            self.told.unclear[_kind(trouble)] += 1
            self.troubled[subjects.split(subject)[0]] += 1
        return seq, trouble


def _kind(trouble: str) -> str:
    for code in ("10071", "10164", "10008", "10077"):
        if code in trouble:
            return code
    return "no answer" if "timeout" in trouble.lower() else "no responders" if "responders" in trouble else "other"


async def write(tape: Raced, writer: int, actor: str, told: Told, attempts: int) -> None:
    """Goes on from what it is told, won or lost, until all writers together have tried often enough."""
    won = told.won.setdefault(actor, {})
    last = await tape.last(actor)
    expected, number = last.seq if last else 0, 0
    while told.attempts < attempts:
        told.attempts += 1
        number += 1
        name = f"{actor} {writer} {number}"
        bid = Decision(digest_of(name.encode()), expected, "", number, (BotPaused(actor, number, name),))
        before = tape.troubled[actor]
        try:
            seq = await tape.append(actor, bid, expected=expected)
        except LostRace as race:
            told.lost += 1
            told.unclaimed.add(bid.id)  # it may stand before the winner's all the same, if its ack was lost
            expected = race.found
        except OutcomeUnknown:
            told.unknown += 1
            told.unclaimed.add(bid.id)
            last = await tape.last(actor)
            expected = last.seq if last else 0
        else:
            told.resolved += tape.troubled[actor] != before
            assert seq not in won, f"{seq} was given twice"
            won[seq] = bid.id
            expected = seq


async def trouble(machines: Machines, told: Told, chance: random.Random, pause_s: float) -> None:
    """One fault after the other, each healed before the next."""
    while True:
        await asyncio.sleep(pause_s * chance.uniform(0.5, 1.5))
        leader = await machines.leader(TAPE)
        victim = leader if leader is not None and chance.random() < 0.7 else chance.choice(machines.all)
        what = chance.choice(("kill", "cut off", "cut from its peers"))
        told.faults[f"{'leader' if victim is leader else 'follower'} {what}"] += 1
        if what == "kill":
            victim.kill()
            await asyncio.sleep(chance.uniform(0.1, 2))
            machines.start(victim)
        else:
            victim.cut(machines.peers(victim), clients_too=what == "cut off")
            await asyncio.sleep(chance.uniform(1, 12))  # a leader that is cut off notices after 10 s
            victim.heal(machines.peers(victim))


@asynccontextmanager
async def servers(replicas: int, folder: Path) -> AsyncIterator[tuple[str, Machines | None]]:
    if replicas == 1:
        async with NatsServer(folder) as server:
            yield server.url, None
        return
    async with Machines(folder) as machines:
        yield machines.url, machines


async def race(url: str, replicas: int, actors: int, attempts: int, told: Told) -> None:
    """All writers, each over a connection of its own, and then the comparison. Raises AssertionError on a breach."""
    tapes = []
    for _ in range(WRITERS):
        tape = await Raced.connect(url, TAPE, replicas=replicas)
        assert isinstance(tape, Raced)
        tape.told, tape.troubled = told, Counter()
        tapes.append(tape)
    names = [f"bot.raced{number}" for number in range(actors)]
    try:
        await asyncio.gather(*(write(tape, n, name, told, attempts) for n, tape in enumerate(tapes) for name in names))
        await check(tapes[0], names, told)
    finally:
        for tape in tapes:
            await tape.close()


async def check(tape: JetStreamTape, names: list[str], told: Told) -> None:
    found: dict[str, list[tuple[int, int, str]]] = {name: [] for name in names}
    async for entry in tape.read():
        found[entry.actor].append((entry.seq, entry.decision.cause, entry.decision.id))
    for name in names:
        chain = found[name]
        assert [cause for _, cause, _ in chain] == [0, *(seq for seq, _, _ in chain[:-1])], f"{name}: a broken link"
        assert len({id for _, _, id in chain}) == len(chain), f"{name}: one decision stands twice"
        stands, won = {seq: id for seq, _, id in chain}, told.won[name]
        assert all(stands.get(seq) == id for seq, id in won.items()), f"{name}: something acknowledged is not there"
        extra = {id for seq, id in stands.items() if seq not in won}
        told.overtaken += len(extra)
        assert extra <= told.unclaimed, f"{name}: something stands there that its writer was told nothing of"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replicas", type=int, choices=(1, 3), nargs="*", default=[1, 3])
    parser.add_argument("--attempts", type=int, default=100_000)
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between two faults; 0: none (R3 only)")
    parser.add_argument("--seed", type=int, default=1)


class Figures(msgspec.Struct):
    """`resolved`: unclear acks that turned out to be one's own; `overtaken`: appended, but overtaken before the ack."""

    replicas: int
    attempts: int
    won: int
    lost: int
    unknown: int
    resolved: int
    overtaken: int
    unclear: dict[str, int]
    faults: dict[str, int]
    seconds: float


async def main(chosen: argparse.Namespace) -> int:
    for replicas in chosen.replicas:
        folder = Path(tempfile.mkdtemp(prefix="tape-races-"))
        try:
            figures = await run(replicas, folder, chosen)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        say(msgspec.json.encode(figures).decode())
    return 0


async def run(replicas: int, folder: Path, chosen: argparse.Namespace) -> Figures:
    told, began = Told(), time.monotonic()
    async with servers(replicas, folder) as (url, machines):
        troubling = None
        if machines is not None and chosen.pause:
            troubling = asyncio.ensure_future(trouble(machines, told, random.Random(chosen.seed), chosen.pause))
        racing = asyncio.ensure_future(race(url, replicas, chosen.actors, chosen.attempts, told))
        await asyncio.wait([racing, *([troubling] if troubling else [])], return_when=asyncio.FIRST_COMPLETED)
        if troubling is not None:
            if troubling.done():
                troubling.result()
            troubling.cancel()
        await racing
    won = sum(len(one) for one in told.won.values())
    return Figures(
        replicas, told.attempts, won, told.lost, told.unknown, told.resolved, told.overtaken, dict(told.unclear),
        dict(told.faults), round(time.monotonic() - began, 1),
    )  # fmt: skip
