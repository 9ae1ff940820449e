"""What each tier costs: appends a second and the wait for an ack, in turns on one machine, as ratios to the first."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import statistics
import tempfile
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import msgspec

from events.tape import Tape
from infra.tapes.file import FileTape
from infra.tapes.jetstream import JetStreamTape
from scripts.power.loss import TIERS, Tier, Writers, say, served

_numbers = count(1)


class Block(msgspec.Struct, frozen=True):
    """Of one tier in one round."""

    rate: float
    p50_ms: float
    p99_ms: float


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of a block")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure; default: the temporary one")


async def block(tape: Tape, seconds: float) -> Block:
    """Four actors side by side, each as fast as its acks come."""
    writers = Writers(tape, None, f"b{next(_numbers)}")
    await asyncio.sleep(seconds)
    await writers.stop()
    took = sorted(one.took * 1000 for one in writers.acked)
    return Block(len(took) / seconds, statistics.median(took), took[int(len(took) * 0.99)])


async def main(chosen: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="tape-cost-", dir=chosen.folder))
    found: dict[str, list[Block]] = {tier.name: [] for tier in TIERS}
    try:
        async with AsyncExitStack() as stack:
            tapes = {tier.name: await _opened(stack, tier, folder / str(n)) for n, tier in enumerate(TIERS)}
            for number in range(chosen.rounds):
                for name in found if number % 2 == 0 else reversed(found):
                    found[name].append(await block(tapes[name], chosen.seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    first = next(iter(found.values()))
    say(f"{'tier':20} {'appends/s':>9} {'ratio':>6} {'p50 ms':>7} {'ratio':>6} {'p99 ms':>7} {'ratio':>6}")
    for name, blocks in found.items():
        cells = [_cell(blocks, first, which) for which in ("rate", "p50_ms", "p99_ms")]
        say(f"{name:20} {cells[0][0]:9.0f} {cells[0][1]:6.2f} " + " ".join(f"{v:7.2f} {r:6.2f}" for v, r in cells[1:]))
    return 0


def _cell(blocks: list[Block], first: list[Block], which: str) -> tuple[float, float]:
    """The median, and the median of the rounds' ratios."""
    ratios = [getattr(mine, which) / getattr(theirs, which) for mine, theirs in zip(blocks, first, strict=True)]
    return statistics.median(getattr(one, which) for one in blocks), statistics.median(ratios)


async def _opened(stack: AsyncExitStack, tier: Tier, folder: Path) -> Tape:
    if not tier.replicas:
        file = FileTape(folder, "main", fsync=tier.sync)  # type: ignore[arg-type]
        stack.push_async_callback(file.close)
        return file
    _, url = await stack.enter_async_context(served(tier, folder))
    tape = await JetStreamTape.connect(url, "main", replicas=tier.replicas)
    stack.push_async_callback(tape.close)
    return tape
