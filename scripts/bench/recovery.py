"""How long actors take to be back over a long tape: after a clean end, a kill, and from the tape's beginning.

The tape is made of candles of a random walk and of what a plan's actors decided on them, in lock-step, and is
published as fast as the server takes it.

`python -m scripts.bench.recovery` prints one JSON object; `--facts 10000000 --folder F` keeps a long tape in F.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import uvloop

from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from actors.shell import Host
from events import subjects
from events.codec import Codec
from events.control import SessionStarted
from events.decision import Decision, Recorded, digest_of
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.services.nats import NatsServer
from infra.session.snapshots import upkeep
from infra.session.tasks import ended as over
from infra.tapes.bus import EPOCH
from infra.tapes.jetstream import JetStreamTape
from scripts.bench.killed import kills

QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
START = 1_500_000_000_000_000 // MINUTE * MINUTE
SYMBOLS = ("A", "B", "C", "D")
KINDS = {"symbol": "market.sim.A", "account": "account.main", "bot": "bot.a"}
WINDOW = 2_000  # messages between two acks that are waited for: far below what the server queues


def plan() -> Plan:
    return Plan(
        symbols=tuple(SymbolPlan(venue="sim", symbol=name) for name in SYMBOLS),
        bots=tuple(
            BotPlan(name=name.lower(), venue="sim", symbol=name, strategy="ema-cross",
                    params={"fast": 20, "slow": 50, "stop_atr": 3.0, "target_atr": 6.0},
                    sizing=Sizing(method="fraction", value=Decimal("0.01")))
            for name in SYMBOLS
        ),
        accounts=(AccountPlan(),),
    )  # fmt: skip


def market() -> Iterator[tuple[str, Decision]]:
    """One candle a minute of every symbol, for ever."""
    chance, price, minute = Random(7), dict.fromkeys(SYMBOLS, 100.0), 0
    while True:
        minute += 1
        ts = START + minute * MINUTE
        for name in SYMBOLS:
            o = price[name]
            c = price[name] = round(max(1.0, o * (1 + chance.gauss(0, 0.0005))), 2)
            candle = Candle("sim", name, "1m", ts, o, round(max(o, c) + 0.02, 2), round(min(o, c) - 0.02, 2), c, 1000.0)
            feed = subjects.feed("sim", name)
            yield feed, observed(feed, ts, candle)


async def fill(tape: JetStreamTape, messages: int) -> float:
    """Puts a plan and what follows from the market on an empty tape; returns the seconds it took."""
    began = time.perf_counter()
    chosen, codec, client = plan(), Codec(), tape.client
    waiting: list[Recorded] = []
    loop = Lockstep(deciders(chosen), waiting.append)
    values = msgspec.to_builtins(chosen)
    hashed = digest_of(msgspec.json.encode(chosen, order="deterministic"))
    loop.feed(subjects.SESSION, observed(subjects.SESSION, START, SessionStarted(START, values, hashed)))
    for actor, message in market():
        loop.feed(actor, message)
        if len(waiting) >= WINDOW or loop.end >= messages:
            await _publish(client, tape.name, codec, waiting)
            waiting.clear()
            if loop.end >= messages:
                break
    assert await tape.end() == loop.end
    return time.perf_counter() - began


async def _publish(client: Any, tape: str, codec: Codec, entries: list[Recorded]) -> None:
    headers = f"NATS/1.0\r\n{EPOCH}: 0\r\n\r\n".encode()
    parts = []
    for entry in entries[:-1]:
        body = codec.encode(entry.decision)
        subject = subjects.subject(tape, entry.actor, entry.decision.kind)
        parts.append(f"HPUB {subject} {len(headers)} {len(headers) + len(body)}\r\n".encode() + headers + body)
    parts.append(b"")
    assert client._write(b"\r\n".join(parts))
    last = entries[-1]
    subject = subjects.subject(tape, last.actor, last.decision.kind)
    answer = await client.ask_directly(subject, headers, codec.encode(last.decision), 30.0)
    assert msgspec.json.decode(answer.data)["seq"] == last.seq


async def back(url: str, folder: Path, actor: str) -> tuple[float, Host, JetStreamTape, asyncio.Task[None]]:
    """Seconds from a process that is ready to an actor that has dealt with its whole inbox, and who goes on."""
    began = time.perf_counter()
    tape = await JetStreamTape.connect(url, "main", create=False)
    own = [decider for decider in deciders(plan()) if decider.actor == actor]
    host = Host(own, tape, None, upkeep(folder, 1, 0.0, own))
    running = asyncio.ensure_future(host.run())
    newest = max([await tape.last_match(pattern) for pattern in own[0].inbox])
    while host.at < newest or not host.following:
        if running.done():
            running.result()
        await asyncio.sleep(0.002)
    return time.perf_counter() - began, host, tape, running


async def close(tape: JetStreamTape, running: asyncio.Task[None]) -> None:
    await over(running)
    await tape.close()


async def measured(url: str, folder: Path, actor: str, from_start: bool) -> dict[str, float]:
    """Of one actor: from the tape's start, then after a clean end."""
    found: dict[str, float] = {}
    state: Any = None
    if from_start:
        shutil.rmtree(folder / actor, ignore_errors=True)
        found["start"], host, tape, running = await back(url, folder, actor)
        state = host.seats[0].state
        await host.save()
        await close(tape, running)
    found["ended"], host, tape, running = await back(url, folder, actor)
    await close(tape, running)
    assert state is None or host.seats[0].state == state, f"{actor}: another state from its snapshot"
    return found


async def run(folder: Path, messages: int, from_start: bool, rounds: int) -> dict[str, Any]:
    async with NatsServer(folder / "nats") as server:
        tape = await JetStreamTape.connect(server.url, "main")
        if await tape.end() == 0:
            sys.stderr.write(f"filled in {await fill(tape, messages):.1f} s\n")
        end = await tape.end()
        await tape.close()
        found = {}
        for kind, actor in KINDS.items():
            found[kind] = await measured(server.url, folder / "snapshots", actor, from_start)
            sys.stderr.write(f"{actor}: {found[kind]}\n")
        gone = await kills(server.url, folder / "snapshots", tuple(KINDS.values()), rounds)
        sys.stderr.write(f"{gone}\n")
    for kind, actor in KINDS.items():
        found[kind]["killed"] = max(one.back_s for one in gone[actor])
    shown = entries(end, found)
    for kind, actor in KINDS.items():
        worst = max(gone[actor], key=lambda one: one.gone_s)
        shown[f"{kind}_killed"]["note"] += (
            f": the slowest of {rounds}; {worst.gone_s:.2f} s with the start of a process, "
            f"with up to {max(one.left for one in gone[actor]):,} messages to look through"
        )
    return shown


def entries(end: int, found: dict[str, dict[str, float]]) -> dict[str, Any]:
    """`floor`: the same from the tape's start, in the same run; the ratio is what is left of it."""
    shown: dict[str, Any] = {}
    for kind, took in found.items():
        for name in ("ended", "killed"):
            about = f"{kind}, {end:,} messages; after a {'clean end' if name == 'ended' else 'kill'}"
            one = shown[f"{kind}_{name}"] = {
                "value": round(took[name], 3), "unit": "s", "note": about, "goal": {"better": "less", "value": 2.0},
            }  # fmt: skip
            if "start" in took:
                one |= {"floor": round(took["start"], 3), "ratio": round(took[name] / took["start"], 4)}
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=50_000 if QUICK else 200_000)
    parser.add_argument("--folder", type=Path, help="keeps the tape there, and uses it where it is")
    parser.add_argument("--kills", type=int, default=1 if QUICK else 5)
    parser.add_argument("--no-start", action="store_true", help="only from the snapshots that the folder holds")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = uvloop.run(run(chosen.folder or Path(scratch), chosen.facts, not chosen.no_start, chosen.kills))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
