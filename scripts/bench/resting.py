"""A thousand actors in one process, most of which have nothing to do: their memory at rest, and waking them.

Each is a symbol with a thousand bars of history; in one child process all stay in memory, in another those rest that
heard nothing for some seconds (`session.passivate_s`). Then one after the other gets a candle.

`python -m scripts.bench.resting` prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from actors.keeper import PASSIVE
from actors.plan import Plan, SymbolPlan
from actors.roster import deciders
from actors.shell import Host
from events import subjects
from events.block import Columns, pack
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.services.nats import NatsServer
from infra.session.player import Player
from infra.session.snapshots import upkeep
from infra.session.tasks import ended
from infra.tapes.jetstream import JetStreamTape
from scripts.bench.longarchive import resident_mb

QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
ACTORS = 100 if QUICK else 1_000
BARS = 1_000
WOKEN = 50
REST_S = 3.0
START = 1_700_000_040_000_000 // MINUTE * MINUTE


def history(seed: int) -> Columns:
    chance = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(chance.normal(0, 1e-3, BARS))), 2)
    open_ = np.concatenate(([100.0], close[:-1]))
    ts = START + MINUTE * np.arange(1, BARS + 1, dtype=np.int64)
    high, low = np.maximum(open_, close) + 0.01, np.minimum(open_, close) - 0.01
    return Columns(ts, open_, high, low, close, np.full(BARS, 50.0), np.full(BARS, 7, dtype=np.int64))


async def child(url: str, folder: Path, rest_s: float) -> dict[str, Any]:
    names = [f"S{number:04}" for number in range(ACTORS)]
    plan = Plan(symbols=tuple(SymbolPlan(venue="sim", symbol=name) for name in names))
    own = [one for one in deciders(plan) if one.actor.startswith("market.")]
    tape = await JetStreamTape.connect(url, f"rest{rest_s:g}")
    bare = resident_mb()
    host = Host(own, tape, None, upkeep(folder, 1, rest_s, own))
    running = asyncio.ensure_future(host.run())
    player = Player(tape, None)
    for seed, name in enumerate(names):
        (block,) = pack("sim", name, "1m", history(seed))
        await player.publish(
            subjects.feed("sim", name), observed(subjects.feed("sim", name), START + MINUTE * BARS, block)
        )
    due = await tape.last_match("feed.>")
    while host.at < due or (rest_s and not all(seat.state is PASSIVE for seat in host.seats)):
        if running.done():
            running.result()
        await asyncio.sleep(0.05)
    gc.collect()
    awake = resident_mb() - bare
    took = [await answered(tape, player, name, seed) for seed, name in enumerate(names[:WOKEN])]
    await ended(running)
    await tape.close()
    return {"mb": awake, "ms": sorted(took)}


async def answered(tape: JetStreamTape, player: Player, name: str, seed: int) -> float:
    """Milliseconds from a candle's publishing to the append time of what its actor says."""
    price, ts = float(history(seed).close[-1]), START + MINUTE * (BARS + 1)
    feed = subjects.feed("sim", name)
    began = time.time_ns()
    await player.publish(feed, observed(feed, ts, Candle("sim", name, "1m", ts, price, price, price, price, 5.0)))
    while True:
        last = await tape.last(subjects.market("sim", name))
        if last is not None and last.decision.ts == ts:
            return last.known_at / 1e3 - began / 1e6
        await asyncio.sleep(0.005)


async def run() -> dict[str, Any]:
    found: dict[float, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        async with NatsServer(Path(scratch) / "nats") as server:
            for rest_s in (0.0, REST_S):
                words = [sys.executable, "-m", "scripts.bench.resting", "--child", server.url, scratch, str(rest_s)]
                done = await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True, text=True)
                found[rest_s] = json.loads(done.stdout)
    awake, resting = found[0.0], found[REST_S]
    at_rest, up = round(resting["mb"], 1), round(awake["mb"], 1)
    of = f"{ACTORS:,} symbols of {BARS:,} bars in a process"
    return {
        "resting_memory": {"value": at_rest, "unit": "MB", "floor": up, "ratio": round(at_rest / up, 2),
                           "note": f"{of}, all at rest; floor: all awake"},
        "resting_wake_p50": _latency(resting["ms"], awake["ms"], 50, of),
        "resting_wake_p99": _latency(resting["ms"], awake["ms"], 99, of),
    }  # fmt: skip


def _latency(ours: list[float], floor: list[float], percent: int, of: str) -> dict[str, Any]:
    value, bare = (statistics.quantiles(one, n=100)[percent - 1] for one in (ours, floor))
    note = f"candle published to answer appended, {of}; floor: by one that is awake"
    return {
        "value": round(value, 2),
        "unit": "ms",
        "floor": round(bare, 2),
        "ratio": round(value / bare, 2),
        "note": note,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        url, folder, rest_s = chosen.child
        found = uvloop.run(child(url, Path(folder) / f"snapshots{rest_s}", float(rest_s)))
    else:
        found = uvloop.run(run())
    sys.stdout.write(json.dumps(found, indent=None if chosen.child else 1) + "\n")


if __name__ == "__main__":
    main()
