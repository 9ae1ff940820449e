"""What writing snapshots adds to the live path: the same symbol in two processes, one of which writes them.

Each holds a thousand bars, half a millisecond's work to take apart and 200 KB to write. The one that writes does so
every half second, sixty times as often as a session. Blocks of candles go to both in turns; latency is from the moment
before a candle is published to the server's stamp on what the symbol says.

`python -m scripts.bench.keeping` prints one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from actors import keeper
from actors.plan import Plan, SymbolPlan
from actors.roster import deciders
from actors.shell import Host
from events import subjects
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.services.nats import NatsServer
from infra.session.player import Player
from infra.session.snapshots import upkeep
from infra.tapes.jetstream import JetStreamTape
from scripts.bench.live import paced, percentile, until_quiet

QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
BLOCKS, BLOCK, GAP_S = (4 if QUICK else 20), 150, 0.015
WARM = 1_000
OFTEN_S = 0.5
START = 1_700_000_040_000_000 // MINUTE * MINUTE
FEED, MARKET = subjects.feed("sim", "A"), subjects.market("sim", "A")


class Fed:
    """One tape, and when each of its candles was published, in µs."""

    def __init__(self, tape: JetStreamTape) -> None:
        self.tape, self.sent = tape, dict[str, float]()
        self._player = Player(tape, None)

    async def publish(self) -> None:
        ts = START + (len(self.sent) + 1) * MINUTE
        message = observed(FEED, ts, Candle("sim", "A", "1m", ts, 100.0, 101.0, 99.0, 100.5, 10.0))
        self.sent[message.id] = time.time_ns() / 1e3
        await self._player.publish(FEED, message)

    async def took(self) -> list[float]:
        """Of all but the first, µs."""
        began = {entry.seq: self.sent[entry.decision.id] async for entry in self.tape.read([f"{FEED}.candle"])}
        late = sorted(began)[WARM:]
        answers = {entry.decision.cause: entry.known_at async for entry in self.tape.read([f"{MARKET}.>"])}
        return [answers[seq] - began[seq] for seq in late]


async def symbol(url: str, name: str, folder: Path, every_s: float) -> None:
    keeper.EVERY_S = every_s
    if every_s > 1e3:
        keeper.EVERY_ENTRIES = 10**9
    own = [one for one in deciders(Plan(symbols=(SymbolPlan(venue="sim", symbol="A"),))) if one.actor == MARKET]
    tape = await JetStreamTape.connect(url, name)
    await Host(own, tape, None, upkeep(folder, 1, 0.0, own)).run()


async def run() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        async with NatsServer(Path(scratch) / "nats", sync_interval="1s") as server:
            kinds = {"with": OFTEN_S, "without": 1e6}
            fed = {name: Fed(await JetStreamTape.connect(server.url, name)) for name in kinds}
            words = [sys.executable, "-m", "scripts.bench.keeping", "--symbol", server.url]
            children = [
                await asyncio.create_subprocess_exec(*words, name, f"{scratch}/{name}", str(s))
                for name, s in kinds.items()
            ]
            try:
                for one in fed.values():
                    await paced(one.publish, WARM, 0.003)
                    while await one.tape.last_match(f"{MARKET}.>") < WARM:  # noqa: ASYNC110
                        await asyncio.sleep(0.1)
                    await until_quiet(one.tape)
                for _ in range(BLOCKS):
                    for one in fed.values():
                        await paced(one.publish, BLOCK, GAP_S)
                for one in fed.values():
                    await until_quiet(one.tape)
                took = {name: await one.took() for name, one in fed.items()}
            finally:
                for child in children:
                    child.kill()
                    await child.wait()
            for one in fed.values():
                await one.tape.close()
    return {f"snapshots_p{percent}": _compared(took, percent) for percent in (50, 99)}


def _compared(took: dict[str, list[float]], percent: int) -> dict[str, Any]:
    ours, floor = percentile(took["with"], percent), percentile(took["without"], percent)
    note = f"candle to symbol's answer, {len(took['with']):,} candles; a snapshot every {OFTEN_S:g} s; floor: none"
    return {"value": round(ours), "unit": "us", "floor": round(floor), "ratio": round(ours / floor, 2), "note": note}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbol", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.symbol:
        url, name, folder, every_s = chosen.symbol
        uvloop.run(symbol(url, name, Path(folder), float(every_s)))
    else:
        sys.stdout.write(json.dumps(uvloop.run(run()), indent=1) + "\n")


if __name__ == "__main__":
    main()
