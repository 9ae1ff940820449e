"""A small tape made by hand, and the command line as a user starts it, on the test servers."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from actors.lockstep import Lockstep
from actors.plan import BotPlan, Plan, Sizing, SymbolPlan
from actors.roster import deciders
from events import subjects
from events.decision import Decision, Recorded
from events.feed import claimed, observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.session.opening import record_plan
from infra.tapes.jetstream import JetStreamTape

START = 1_700_000_040_000_000  # on a minute
ROOT = Path(__file__).resolve().parents[2]
_names = itertools.count(1)

PLAN = Plan(
    symbols=(SymbolPlan(venue="sim", symbol="AAA-USDT"),),
    bots=(
        BotPlan(name="cross", venue="sim", symbol="AAA-USDT", params={"fast": 2, "slow": 4},
                sizing=Sizing(value=Decimal("0.1"))),
    ),
)  # fmt: skip


class Ended(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one object on standard output; anything else there fails."""
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Cli:
    """`tape` in a folder of its own, on given servers."""

    def __init__(self, folder: Path, nats_url: str, postgres_dsn: str) -> None:
        self.folder, self.nats_url = folder, nats_url
        self.data_dir = folder / "data"
        self.tape = f"cli{next(_names)}"
        self.config = folder / "tape.json"
        values = {
            "tape": self.tape,
            "data_dir": str(self.data_dir),
            "services": {"nats_url": nats_url, "postgres_dsn": postgres_dsn},
        }
        self.config.write_text(json.dumps(values))

    def __call__(self, *words: str | Path, config: bool = True) -> Ended:
        """Runs a command to its end, in a process of its own: exit codes and streams are what users get."""
        given = ["--config", str(self.config)] if config else []
        environment = {**os.environ, "COLUMNS": "160", "PYTHONPATH": str(ROOT)}
        environment.pop("FORCE_COLOR", None)
        done = subprocess.run(
            [sys.executable, "-m", "infra.cli", *map(str, words), *given],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
            timeout=120,  # a command takes some seconds; far beyond that it hangs
        )  # fmt: skip
        return Ended(done.returncode, done.stdout, done.stderr)

    async def record(self, candles: int = 80) -> list[Recorded]:
        """A session's tape, without the session: claims, candles up and down, and all that follows from them."""
        entries: list[Recorded] = []
        loop = Lockstep(deciders(PLAN), entries.append)
        tape = await JetStreamTape.connect(self.nats_url, self.tape)
        try:
            await record_plan(tape, PLAN, START)
            for seat in loop.seats:
                made = claimed(seat.actor, 1, f"test/1/{seat.actor}", seat.decider.version)
                await tape.append(seat.actor, made, expected=0, epoch=1)
            loop.end = await tape.end()
            for message in _market(candles):
                loop.feed(subjects.feed("sim", "AAA-USDT"), message)
            versions = {seat.actor: number for number, seat in enumerate(loop.seats, 2)}
            for entry in entries:
                expected = versions.get(entry.actor, 0)
                epoch = 1 if entry.decision.by else 0
                seq = await tape.append(entry.actor, entry.decision, expected=expected, epoch=epoch)
                assert seq == entry.seq
                versions[entry.actor] = seq
        finally:
            await tape.close()
        return entries

    async def facts(self, pattern: str = ">") -> list[Recorded]:
        tape = await JetStreamTape.connect(self.nats_url, self.tape, create=False)
        try:
            return [entry async for entry in tape.read([pattern])]
        finally:
            await tape.close()

    def read(self, pattern: str = ">") -> list[Recorded]:
        return asyncio.run(self.facts(pattern))


def _market(candles: int) -> list[Decision]:
    """A triangle wave with a hole of three minutes."""
    actor, found = subjects.feed("sim", "AAA-USDT"), []
    price = 100.0
    for row in range(candles):
        step = 0.5 if row // 10 % 2 else -0.5
        before, price = price, price + step
        ts = START + (row + 1 + 3 * (row >= 30)) * MINUTE
        candle = Candle("sim", "AAA-USDT", "1m", ts, before, max(before, price), min(before, price), price, 1000.0)
        found.append(observed(actor, ts, candle))
    return found
