"""Actors that are killed amid live trading over a long tape, and how long each is gone.

Each is a process of its own. Candles come all the while, a hundred a second; after some seconds, drawn by a seed, all
are killed at once, SIGKILL, and started again.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import uvloop

from actors.keeper import EVERY_S
from events import subjects
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.session.player import Player
from infra.tapes.jetstream import JetStreamTape

SYMBOL = "A"
RATE = 100.0  # candles a second: what hundreds of symbols of one minute bring, more than live trading has of one
WARM_S = 3.0


class Back(msgspec.Struct, frozen=True):
    """`gone_s`: from the start of a process; `back_s`: from when it has loaded its modules; `cpu_s`: processor time of
    the latter.

    `left`: how many messages stood on the tape after its snapshot when it was killed.
    """

    gone_s: float
    back_s: float
    cpu_s: float
    left: int


async def trade(tape: JetStreamTape) -> None:
    """Goes on with the market where the tape ends, until it is cancelled."""
    feed = subjects.feed("sim", SYMBOL)
    last = await tape.last(feed)
    assert last is not None
    before = last.decision.facts[-1]
    assert isinstance(before, Candle)
    chance, price, ts = Random(before.ts), before.close, before.ts
    player, loop = Player(tape, None), asyncio.get_running_loop()
    due = loop.time()
    while True:
        ts += MINUTE
        close = round(max(1.0, price * (1 + chance.gauss(0, 0.0005))), 2)
        high, low = round(max(price, close) + 0.02, 2), round(min(price, close) - 0.02, 2)
        await player.publish(feed, observed(feed, ts, Candle("sim", SYMBOL, "1m", ts, price, high, low, close, 1000.0)))
        price, due = close, due + 1 / RATE
        await asyncio.sleep(max(0.0, due - loop.time()))


async def kills(url: str, folder: Path, actors: Sequence[str], rounds: int) -> dict[str, list[Back]]:
    """Of every actor, each time that it was killed."""
    found: dict[str, list[Back]] = {actor: [] for actor in actors}
    tape, chance = await JetStreamTape.connect(url, "main", create=False), Random(5)
    living: dict[str, Process] = {}
    trading = asyncio.ensure_future(trade(tape))
    try:
        for number in range(rounds + 1):
            left = {actor: await tape.end() - _newest(folder / actor) for actor in actors}
            began = time.time()
            living = {actor: await _started(url, folder, actor) for actor in actors}
            for actor, process in living.items():
                one = await _back(process, began, left[actor])
                if number:  # before the first one nobody was killed
                    found[actor].append(one)
            if trading.done():
                trading.result()
            if number < rounds:
                await asyncio.sleep(WARM_S + EVERY_S * chance.uniform(0.5, 1.5))
            await _killed(living)
    finally:
        trading.cancel()
        await _killed(living)
        await tape.close()
    return found


def _newest(folder: Path) -> int:
    return max((int(path.stem) for path in folder.glob("*.snap")), default=0)


async def _started(url: str, folder: Path, actor: str) -> Process:
    words = (sys.executable, "-m", "scripts.bench.killed", url, str(folder), actor)
    return await asyncio.create_subprocess_exec(*words, stdout=PIPE)


async def _back(process: Process, began: float, left: int) -> Back:
    assert process.stdout is not None
    said: dict[str, Any] = msgspec.json.decode(await process.stdout.readline())
    return Back(said["at"] - began, said["took"], said["cpu"], left)


async def _killed(living: dict[str, Process]) -> None:
    for process in living.values():
        if process.returncode is None:
            process.kill()
    for process in living.values():
        await process.wait()


async def _serve(url: str, folder: Path, actor: str) -> None:
    from scripts.bench.recovery import back

    began = time.process_time()
    took, _, _, running = await back(url, folder, actor)
    said = {"at": time.time(), "took": took, "cpu": time.process_time() - began}
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    sys.stdout.flush()
    await running


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("folder", type=Path)
    parser.add_argument("actor")
    chosen = parser.parse_args()
    uvloop.run(_serve(chosen.url, chosen.folder, chosen.actor))


if __name__ == "__main__":
    main()
