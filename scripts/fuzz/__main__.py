"""Bad input by the million: mutated facts onto a real bus under actors and projections at work.

Everything follows from `--seed` but for the clock, which stamps what is sound.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
from math import inf
from pathlib import Path

from infra.services.nats import NatsServer
from infra.services.postgres import PostgresServer
from infra.tapes.jetstream import JetStreamTape
from scripts.fuzz.bus import TAPE, play
from scripts.fuzz.market import plan
from scripts.fuzz.report import Report, as_json, sentences
from scripts.fuzz.verdict import judge


async def fuzz(folder: Path, count: int, seed: int, most_s: float) -> Report:
    bus, database = NatsServer(folder / "nats"), PostgresServer(folder / "postgres")
    await asyncio.gather(bus.start(), database.start())
    try:
        return await fuzzed(folder, bus.url, database.dsn, count, seed, most_s)
    finally:
        await asyncio.gather(bus.stop(), database.stop())


async def fuzzed(folder: Path, url: str, dsn: str, count: int, seed: int, most_s: float = inf) -> Report:
    """On a bus without roles: what they would keep out has to be dealt with too."""
    run = await play(folder, url, dsn, count, seed, most_s)
    tape = await JetStreamTape.connect(url, TAPE, create=False)
    try:
        return Report(seed, run, await judge(tape, dsn, plan(), run.sent))
    finally:
        await tape.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="mutated facts")
    parser.add_argument("--seconds", type=float, default=inf, help="publish for no longer than this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where to write the report as JSON too")
    parser.add_argument("--folder", type=Path, help="where to work; it is kept")
    given = parser.parse_args()
    folder = Path(given.folder or tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL runs as another user where this one is root
    logging.basicConfig(level=logging.ERROR)  # that strangers write on feeds is what this is about
    logging.getLogger("tickertape.projections").setLevel(logging.CRITICAL)  # what is parked is counted in the tables
    # Else Go keeps what the server has read of the tape until it has twice as much: that would look like a leak.
    os.environ.setdefault("GOMEMLIMIT", "256MiB")
    report = asyncio.run(fuzz(folder, given.count, given.seed, given.seconds))
    if given.json:
        given.json.write_bytes(as_json(report))
    sys.stdout.write(sentences(report) + "\n")
    if report.problems:
        sys.exit(f"the folder is kept: {folder}")
    if given.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
