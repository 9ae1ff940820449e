"""The session that is disturbed: real candles in lock-step, at a pace, until a file says after how many to end.

`python -m scripts.chaos.child CONFIG PACE UNTIL`: the configuration, facts a second, and the file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from infra.config import load
from infra.session.market import Stamped
from infra.session.player import after
from infra.session.run import Source, session
from scripts.parity import market


def bounded(until: Path) -> Iterator[Stamped]:
    """The market up to the fact whose number the file holds, once there is a file."""
    last: int | None = None
    for number, message in enumerate(market(0)):
        if last is None and until.exists():
            last = int(until.read_text())
        if last is not None and number >= last:
            return
        yield message


def paced(stream: Iterator[Stamped], pace: float) -> Iterator[Stamped]:
    """At most `pace` facts a second. It holds the conductor's loop for milliseconds, which is all that it delays."""
    due = 0.0
    for message in stream:
        now = time.monotonic()
        if due > now:
            time.sleep(due - now)
        due = max(due, now) + 1 / pace
        yield message


async def run(config: Path, pace: float, until: Path) -> None:
    chosen = load(config)
    source = Source(lambda ts, feed: paced(after(bounded(until), ts, feed), pace), lockstep=True)
    async with session(chosen, chosen.plan()) as running:
        await running.play(source)


if __name__ == "__main__":
    uvloop.run(run(Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])))
