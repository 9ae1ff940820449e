"""One campaign from an empty folder to its report."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from scripts.chaos.campaign import Campaign, drawn
from scripts.chaos.faults import Kind
from scripts.chaos.kinds import possible
from scripts.chaos.observer import Observer
from scripts.chaos.report import Report
from scripts.chaos.stack import ROOT, Log, Stack, until
from scripts.chaos.verdict import compared

START_S = 420.0
END_S = 600.0  # for the rest of the market, after the last fault
MARKET = "feed.binance.BNB-USDT.>"
REST = 200  # facts that are played after the last fault, undisturbed


class Settings(msgspec.Struct, frozen=True):
    """`pace`: market facts a second at most; `together`: how often a light fault joins the one before."""

    faults: int
    seed: int
    pace: float
    together: float
    kinds: tuple[Kind, ...]


async def campaign(folder: Path, chosen: Settings) -> Report:
    """Raises Stuck where the system does not get over a fault."""
    log = Log(folder / "chaos.log")
    stack = Stack(folder, log, chosen.pace)
    kinds = possible(chosen.kinds, folder)
    volleys = drawn(kinds, chosen.faults, random.Random(chosen.seed), chosen.together)
    log("campaign", seed=chosen.seed, faults=chosen.faults, pace=chosen.pace)
    began = time.monotonic()
    async with stack.running():
        seen = Observer(partial(stack.tape, 1.0), stack.database.dsn, stack.config.tape, MARKET)
        attending = asyncio.ensure_future(stack.attend(lambda: seen.feed))
        try:
            async with seen.watching():
                done = await _disturb(stack, seen, log, volleys, chosen.seed)
                await _end(stack, attending)
        finally:
            attending.cancel()
            await asyncio.gather(attending, return_exceptions=True)
        took = time.monotonic() - began
        await until(lambda: not stack.leftovers(), 60.0)
        leftovers = tuple(stack.leftovers())
        tape = await stack.tape()
        try:
            outcome = await compared(tape, stack.database.dsn)
        finally:
            await tape.close()
        stack.surprises += await _verified(stack.config_file)
        if outcome.wrong:  # the disk it is on goes with the campaign
            await asyncio.to_thread(shutil.copytree, stack.bus.directory, folder / "tape", dirs_exist_ok=True)
    hits = tuple(sorted(done.hits, key=lambda hit: hit.number))
    left_out = tuple(kind.name for kind in chosen.kinds if kind not in kinds)
    return Report(
        chosen.seed,
        len(hits),
        done.misses,
        stack.starts,
        stack.false_starts,
        took,
        left_out,
        tuple(stack.surprises),
        leftovers,
        outcome,
        hits,
    )


async def _disturb(stack: Stack, seen: Observer, log: Log, volleys: Sequence[Sequence[Kind]], seed: int) -> Campaign:
    found = Campaign(stack, seen, log, seed)
    if await seen.recovered(START_S) is None:
        raise RuntimeError(f"the session did not start within {START_S:g} s: see {stack.folder / 'session.log'}")
    await found.run(volleys)
    return found


async def _end(stack: Stack, attending: asyncio.Future[None]) -> None:
    """Lets the session play a little further, and end by itself."""
    tape = await stack.tape()
    try:
        fed = 0
        async for _ in tape.read(["feed.*.*.candle"]):
            fed += 1
    finally:
        await tape.close()
    draft = stack.until.with_suffix(".new")
    draft.write_text(str(fed + REST))
    draft.replace(stack.until)
    async with asyncio.timeout(END_S):
        await attending


async def _verified(config: Path) -> list[str]:
    """What `tape verify` has to say, as an operator asks it."""
    words = [sys.executable, "-m", "infra.cli", "verify", "--config", str(config)]
    done = await asyncio.to_thread(subprocess.run, words, cwd=ROOT, capture_output=True, text=True, check=False)
    return [f"tape verify ends with {done.returncode}: {done.stdout}{done.stderr}"] if done.returncode else []
