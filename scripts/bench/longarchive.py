"""A long tape archived, proven, restored into an empty server and compared: rates, and memory along the way.

`python -m scripts.bench.longarchive --tape F/nats --archive P --again G` takes the tape that `scripts.bench.recovery`
keeps in F. Every step is a process of its own; one JSON object a step is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvloop

from infra.archive.check import check
from infra.archive.export import export
from infra.archive.place import Place
from infra.archive.restore import restore
from infra.services.nats import NatsServer
from infra.tapes.jetstream import JetStreamTape

SAMPLE_S = 1.0


class Watched:
    """Told the sequence reached; samples what of this process's memory no file explains."""

    def __init__(self) -> None:
        self.done = 0
        self.samples: list[tuple[int, float]] = []
        self.began = time.perf_counter()
        threading.Thread(target=self._sample, daemon=True).start()

    def advance(self, seq: int) -> None:
        self.done = seq

    def _sample(self) -> None:
        while True:
            self.samples.append((self.done, resident_mb()))
            time.sleep(SAMPLE_S)

    def result(self, step: str, **more: Any) -> dict[str, Any]:
        """`mb`: the largest in each quarter of the messages."""
        self.samples.append((self.done, resident_mb()))
        quarters = [0.0] * 4
        for done, mb in self.samples:
            place = min(3, 4 * done // max(1, self.done))
            quarters[place] = max(quarters[place], round(mb, 1))
        took = time.perf_counter() - self.began
        return {
            "step": step, "messages": self.done, "wall_s": round(took, 1), "cpu_s": round(time.process_time(), 1),
            "per_cpu_s": round(self.done / time.process_time()), "mb": quarters, **more,
        }  # fmt: skip


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:")) / 1024


async def one(step: str, url: str, place: Place) -> dict[str, Any]:
    watched = Watched()
    if step == "restore":
        done = await restore(url, place, 1, watched.advance)
        return watched.result(step, head=done.head, last=done.last)
    tape = await JetStreamTape.connect(url, place.tape, create=False)
    try:
        if step == "export":
            sealed = await export(tape, place, watched.advance)
            size = sum(part.size for part in place.parts())
            return watched.result(step, head=sealed.head, bytes_a_message=round(size / max(1, sealed.last), 1))
        found = await check(place, None if step == "check" else tape, watched.advance)
        return watched.result(step, head=found.head, compared=found.compared, witnessed=found.witnessed)
    finally:
        await tape.close()


def stepped(step: str, url: str, archive: str) -> None:
    """Prints what the step's process says."""
    words = [sys.executable, "-m", "scripts.bench.longarchive", "--step", step, "--url", url, "--archive", archive]
    subprocess.run(words, check=True)


async def run(tape: Path, archive: str, again: Path) -> None:
    async with NatsServer(tape) as server:
        for step in ("export", "check", "compare"):
            await asyncio.to_thread(stepped, step, server.url, archive)
    async with NatsServer(again) as server:
        for step in ("restore", "compare"):
            await asyncio.to_thread(stepped, step, server.url, archive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", required=True)
    parser.add_argument("--tape", type=Path, help="a server's folder")
    parser.add_argument("--again", type=Path, help="an empty one")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        found = uvloop.run(one(chosen.step, chosen.url, Place(chosen.archive, "main")))
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        asyncio.run(run(chosen.tape, chosen.archive, chosen.again))


if __name__ == "__main__":
    main()
