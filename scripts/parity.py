"""Live equals backtest: real candles in lock-step through JetStream and Ray, killed on the way, against one process.

`python -m scripts.parity` plays the whole recorded files; `--minutes 2880` the first two days; `--kills 5` kills every
process of the session that often with SIGKILL, at places drawn from `--seed`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from actors.lockstep import Lockstep
from actors.plan import AccountPlan, BotPlan, Limits, Plan, SymbolPlan
from actors.roster import deciders
from events.block import Columns
from events.digest import Digest
from infra.config import Config, SessionSettings
from infra.importers import read
from infra.services.embedded import embedded
from infra.session.audit import Verdict, audit
from infra.session.market import Stamped, candle_messages, merged, unstamped
from infra.session.opening import open_tape
from infra.session.run import recorded, session

DATA = Path(os.environ.get("TICKERTAPE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
FOLDER = DATA / "crypto_klines" / "binance_usdm_futures_2025_freqtrade_feather"
TICKS = {"BNB": "0.01", "BTC": "0.1", "ETH": "0.01", "LINK": "0.001", "LTC": "0.01"}


class Outcome(msgspec.Struct):
    """What both sides came to; equal when `live` is `backtest` and `verdict` names no difference."""

    candles: int
    kills: int
    live: str
    backtest: str
    verdict: Verdict

    @property
    def equal(self) -> bool:
        return self.live == self.backtest == self.verdict.digest and self.verdict.difference is None


def plan() -> Plan:
    """Five futures, three bots each, one account whose limits bind."""
    symbols = [
        SymbolPlan(
            venue="binance", symbol=f"{name}-USDT", timeframes=("5m", "15m"), tick=Decimal(tick), lot=Decimal("0.001")
        )
        for name, tick in TICKS.items()
    ]
    bots: list[BotPlan] = []
    for name in TICKS:
        market: dict[str, Any] = {"venue": "binance", "symbol": f"{name}-USDT"}
        cross = {"short": True, "stop_atr": 3.0, "target_atr": 6.0}
        bots += [
            BotPlan(name=f"cross-{name}", timeframe="1m", strategy="ema-cross", params=cross, **market),
            BotPlan(name=f"momentum-{name}", timeframe="5m", strategy="momentum", **market),
            BotPlan(name=f"breakout-{name}", timeframe="15m", strategy="breakout", params={"short": True}, **market),
        ]
    limits = Limits(positions=6, daily_loss=Decimal("0.02"), cooldown=600, symbol_fraction=Decimal("0.2"))
    return Plan(symbols=tuple(symbols), bots=tuple(bots), accounts=(AccountPlan(limits=limits),))


def market(minutes: int) -> Iterator[Stamped]:
    """The first `minutes` candles of every file (0: all), in canonical order."""
    streams = []
    for name in TICKS:
        columns = read(FOLDER / f"{name}_USDT_USDT-1m-futures.feather").data
        assert isinstance(columns, Columns)
        streams.append(candle_messages("binance", f"{name}-USDT", "1m", columns[: minutes or None]))
    return merged(streams)


def in_process(minutes: int) -> tuple[int, str]:
    """(candles, digest) of the backtest."""
    found = Digest()
    loop = Lockstep(deciders(plan()), lambda entry: found.add(entry.actor, entry.decision))
    candles = 0
    for actor, message in unstamped(market(minutes)):
        loop.feed(actor, message)
        candles += 1
    return candles, found.hexdigest()


def config(data_dir: Path, processes: int) -> Config:
    made = plan()
    settings = SessionSettings(processes=processes, dashboard=False)
    return Config(
        data_dir=str(data_dir), session=settings, symbols=made.symbols, bots=made.bots, accounts=made.accounts
    )


async def live(data_dir: Path, minutes: int, processes: int) -> None:
    """One session to the end of the market, saying on stdout how far it is."""
    async with session(config(data_dir, processes), plan()) as running:
        playing = asyncio.ensure_future(running.play(recorded(lambda: market(minutes), speed=None, lockstep=True)))
        while not playing.done():
            await asyncio.wait((playing,), timeout=0.1)
            say(running.published)
        await playing


def say(published: int) -> None:
    sys.stdout.write(f"{published}\n")
    sys.stdout.flush()


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, and itself."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it has ended meanwhile
            parents.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def kill_everything(pid: int) -> int:
    """SIGKILL to the session's every process, servers included; how many there were."""
    victims = descendants(pid)
    for victim in victims:
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it died with its parent
    return len(victims)


@contextmanager
def too_long(pid: int, seconds: float | None) -> Iterator[threading.Event]:
    """Kills a session that is still there after so long; the event says that it did."""
    over = threading.Event()

    def end() -> None:
        over.set()
        kill_everything(pid)

    timer = threading.Timer(seconds or 0.0, end)
    if seconds is not None:
        timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def play(
    data_dir: Path, minutes: int, processes: int, kills: list[int], log: Path, patience_s: float | None = None
) -> int:
    """Runs the session until the market has been played, killing it after so many more facts each time.

    Returns the number of kills that hit. A run that takes longer than `patience_s` is killed, and fails.
    """
    command = [sys.executable, "-m", "scripts.parity", "--child", str(data_dir), "--minutes", str(minutes)]
    hits = 0
    for target in [*kills, None]:
        with (
            log.open("ab") as errors,
            subprocess.Popen(
                [*command, "--processes", str(processes)], stdout=subprocess.PIPE, stderr=errors, text=True
            ) as child,
            too_long(child.pid, patience_s) as over,
        ):
            assert child.stdout is not None
            for line in child.stdout:
                if target is not None and int(line) >= target:
                    kill_everything(child.pid)
                    hits += 1
                    break
            code = child.wait()
        if over.is_set():
            raise SystemExit(f"the session did not end within {patience_s} s: {log.read_text()[-2000:]}")
        if target is None and code:
            raise SystemExit(f"the session failed with exit code {code}: {log.read_text()[-2000:]}")
    return hits


async def verdict(data_dir: Path, processes: int) -> Verdict:
    chosen = config(data_dir, processes)
    async with embedded(data_dir, chosen.services) as endpoints:
        tape = await open_tape(chosen, endpoints)
        try:
            return await audit(tape)
        finally:
            await tape.close()


def compare(
    minutes: int, kills: int, seed: int, processes: int, data_dir: Path, patience_s: float | None = None
) -> Outcome:
    """Plays both sides and audits the tape. `patience_s` bounds each run between two kills."""
    candles, backtest = in_process(minutes)
    chance = random.Random(seed)
    targets = [chance.randint(1, max(1, candles // (kills + 1))) for _ in range(kills)]
    hits = play(data_dir, minutes, processes, targets, data_dir / "session.log", patience_s)
    found = uvloop.run(verdict(data_dir, processes))
    return Outcome(candles, hits, found.digest, backtest, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=0, help="candles per symbol; 0: the whole files")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=8, help="Ray actors; 64: one for every symbol and bot")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        uvloop.run(live(chosen.child, chosen.minutes, chosen.processes))
        return
    if not FOLDER.exists():
        sys.exit(f"no recorded data under {FOLDER}: set TICKERTAPE_DATA")
    data_dir = Path(tempfile.mkdtemp(prefix="parity-"))
    began = time.monotonic()
    outcome = compare(chosen.minutes, chosen.kills, chosen.seed, chosen.processes, data_dir)
    took = time.monotonic() - began
    sys.stdout.write(f"{msgspec.json.format(msgspec.json.encode(outcome)).decode()}\n{took:.0f} s\n")
    if not outcome.equal:
        sys.exit(f"live and backtest differ; the tape is kept in {data_dir}")
    shutil.rmtree(data_dir)
    sys.stdout.write("live equals backtest\n")


if __name__ == "__main__":
    main()
