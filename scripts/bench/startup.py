"""From the command `tape run` to the first decision on the tape, in a fresh data folder and a warm environment.

The clock starts before the process is made; the end is the server's time stamp on the first decision of any actor.
The yardstick is Ray as it comes: `ray.init` with its dashboard and the first answer of one bare actor, in a fresh
process, before and after. Both keep their byte code, as an installed environment does.

`python -m scripts.bench.startup` prints one JSON object; `--runs` says how often.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from events.subjects import CLAIMED
from events.tape import TapeError
from infra.services import discovery
from infra.services.discovery import Endpoints
from infra.tapes.jetstream import JetStreamTape

PATIENCE_S = 120.0
QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
BARE = """
import ray
class Bare:
    def answer(self): return 1
ray.init(address="local", log_to_driver=False, include_dashboard=True)
ray.get(ray.remote(Bare).remote().answer.remote())
"""


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def bare() -> float:
    began = time.time()
    child = subprocess.Popen([sys.executable, "-c", BARE + "print(1, flush=True)\n"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, env=environment())  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    took = time.time() - began
    child.stdout.close()
    child.wait(PATIENCE_S)
    return took


def ours(folder: Path) -> dict[str, float]:
    """Seconds to the first decision, and to what comes before it."""
    words = [sys.executable, "-m", "infra.cli", "run", "--data-dir", str(folder), "--plain"]
    began = time.time()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
    try:
        while (found := discovery.read(folder)) is None or not found.alive():
            assert time.time() - began < PATIENCE_S, "no services"
            time.sleep(0.02)
        services = time.time() - began
        return {"services": services, **uvloop.run(_decisions(found.endpoints, began))}
    finally:
        child.send_signal(signal.SIGINT)
        child.wait(PATIENCE_S)


async def _decisions(at: Endpoints, began: float) -> dict[str, float]:
    tape, found = await _tape(at), {}
    try:
        async for entry in tape.follow():
            if entry.decision.kind == CLAIMED:
                found.setdefault("first process", entry.known_at / 1e6 - began)
            if entry.decision.by:
                found["first decision"] = entry.known_at / 1e6 - began
                return found
    finally:
        await tape.close()
    raise AssertionError("the tape ended")


async def _tape(at: Endpoints) -> JetStreamTape:
    while True:
        try:
            return await JetStreamTape.connect(at.nats, "main", create=False, access=at.access("viewer"))
        except TapeError:
            await asyncio.sleep(0.02)


def runs(count: int) -> dict[str, Any]:
    every, floors = [], [bare()]
    for _ in range(count):
        with tempfile.TemporaryDirectory() as folder:
            every.append(ours(Path(folder).resolve() / "data"))
        floors.append(bare())
    floor = statistics.median(floors)
    found = {}
    for name in every[0]:
        value = statistics.median(one[name] for one in every)
        found[f"start_to_{name.replace(' ', '_')}"] = {
            "value": round(value, 2), "unit": "s", "floor": round(floor, 2), "ratio": round(value / floor, 2),
            "note": f"median of {count}, default configuration; floor: Ray with its dashboard and one bare actor",
        }  # fmt: skip
    found["start_to_first_decision"]["goal"] = {"better": "less", "value": 10.0, "stretch_value": 5.0}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1 if QUICK else 3)
    sys.stdout.write(json.dumps(runs(parser.parse_args().runs), indent=1) + "\n")


if __name__ == "__main__":
    main()
