"""A thousand symbols with a bot each on one machine: one candle a minute for every symbol, in real processes.

NATS, PostgreSQL, Ray with its dashboard, the trading processes and the projector all run. A minute is: every symbol's
candle is published at once; then nothing until all is dealt with. Every bot signals on every candle, which is more than
any trader's do, so every minute is a thousand candles, decisions of symbols, signals, orders and fills each.

- `decided`: from the moment before the first candle is published to the server's stamp on the last bot's signal.
- `settled`: to the stamp on the last message that the minute led to, the accounts' orders and fills.
- `memory`: proportional set size of this process and everything it started, after the last minute.
- `started`: from the call that starts a session to the last of the actors' claims.

`python -m scripts.bench.packing` prints one JSON object; the options size the run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvloop

from actors.plan import AccountPlan, BotPlan, Sizing, SymbolPlan
from events import subjects
from events.decision import Decision
from events.feed import observed
from events.market import Candle
from events.timeframe import MINUTE
from infra.config import Config, SessionSettings
from infra.session.player import Player
from infra.session.run import Session, session
from infra.tapes.jetstream import JetStreamTape

START = 1_700_000_040_000_000
QUICK = bool(os.environ.get("TICKERTAPE_BENCH_QUICK"))
QUIET_S = 1.0  # nothing new for so long: the minute is over
PATIENCE_S = 300.0


def config(folder: Path, symbols: int, accounts: int, processes: int | None) -> Config:
    port = _free_port()
    session = SessionSettings(dashboard_port=port)
    if processes is not None:
        session = SessionSettings(dashboard_port=port, processes=processes)
    return Config(
        data_dir=str(folder),
        session=session,
        symbols=tuple(SymbolPlan(venue="sim", symbol=f"S{number:05}") for number in range(symbols)),
        accounts=tuple(AccountPlan(name=f"a{number:02}", cash=Decimal(10**9)) for number in range(accounts)),
        bots=tuple(
            BotPlan(name=f"b{number:05}", account=f"a{number % accounts:02}", venue="sim", symbol=f"S{number:05}",
                    strategy="scripts.bench.live:InAndOut", sizing=Sizing(method="quantity", value=Decimal(1)))
            for number in range(symbols)
        ),
    )  # fmt: skip


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def candle(symbol: str, minute: int) -> tuple[str, Decision]:
    feed, ts = subjects.feed("sim", symbol), START + minute * MINUTE
    price = 100.0 + minute % 7
    return feed, observed(feed, ts, Candle("sim", symbol, "1m", ts, price, price + 1, price - 1, price + 0.5, 1000.0))


async def minute(player: Player, symbols: list[str], number: int) -> float:
    """Publishes the candles of all symbols, each symbol's by itself; returns when it began, in s of the wall clock."""
    messages = [candle(symbol, number) for symbol in symbols]
    began = time.time()
    await asyncio.gather(*(player.publish(feed, message) for feed, message in messages))
    return began


class Watch:
    """What the tape says: stamps of the last signal and the last message, numbers of claims and signals."""

    def __init__(self) -> None:
        self.claims = self.signals = self.messages = 0
        self.claimed_at = self.signalled_at = self.last_at = 0.0

    async def follow(self, tape: JetStreamTape) -> None:
        async for entry in tape.follow(["market.>", "bot.>", "account.>"]):
            at = entry.known_at / 1e6
            if entry.decision.kind == subjects.CLAIMED:
                self.claims, self.claimed_at = self.claims + 1, at
                continue
            self.messages, self.last_at = self.messages + 1, at
            if entry.actor.startswith("bot."):
                self.signals, self.signalled_at = self.signals + 1, at

    async def until(self, what: Any, about: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < deadline, f"no {about} in {PATIENCE_S:g} s: {vars(self)}"
            await asyncio.sleep(0.05)

    async def quiet(self) -> None:
        await self.until(lambda: time.time() - self.last_at > QUIET_S, "quiet")


async def run(symbols: int, accounts: int, minutes: int, processes: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        settings = config(Path(folder), symbols, accounts, processes)
        began = time.time()
        async with session(settings, settings.plan()) as live:
            watch = Watch()
            following = asyncio.ensure_future(watch.follow(live.tape))
            live.start()
            await watch.until(lambda: watch.claims >= 2 * symbols + accounts, "claims")
            started = watch.claimed_at - began
            try:
                found = await _minutes(live, watch, symbols, minutes)
            finally:
                following.cancel()
            assert not live.halted, live.halted
            found["memory"] = memory_mb(os.getpid())
            found["processes"] = len(live.workers)
    return {"started": started, **found}


async def _minutes(live: Session, watch: Watch, symbols: int, minutes: int) -> dict[str, Any]:
    player, names = Player(live.feeds, None), [f"S{number:05}" for number in range(symbols)]
    found: dict[str, Any] = {"decided": [], "settled": []}
    for number in range(1, minutes + 2):
        signals = watch.signals
        began = await minute(player, names, number)
        fed = time.time() - began
        await watch.until(lambda seen=signals: watch.signals >= seen + symbols, "signal of every bot")
        decided = watch.signalled_at - began
        await watch.quiet()
        sys.stderr.write(
            f"minute {number}: fed {fed:.2f} s, decided {decided:.2f} s, settled {watch.last_at - began:.2f} s\n"
        )
        if number > 1:  # the first opens what later ones find open
            found["decided"].append(decided)
            found["settled"].append(watch.last_at - began)
    return found


def memory_mb(root: int) -> float:
    """Proportional set size of a process and all below it: what they share is counted once."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            parents.setdefault(parent, []).append(int(place.name))
    total, left = 0, [root]
    while left:
        pid = left.pop()
        left += parents.get(pid, [])
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
    return total / 1024


def entries(symbols: int, found: dict[str, Any]) -> dict[str, Any]:
    about = f"{symbols} symbols, {symbols} bots, {found['processes']} trading processes and projector"
    worst = f"{about}; worst of {len(found['decided'])} minutes, median {statistics.median(found['decided']):.2f}"
    return {
        "decided": {"value": round(max(found["decided"]), 2), "unit": "s", "note": worst,
                    "goal": {"better": "less", "value": 2.0}},
        "settled": {"value": round(max(found["settled"]), 2), "unit": "s", "note": f"{about}; worst minute"},
        "memory": {"value": round(found["memory"]), "unit": "MB", "note": f"{about}, NATS, PostgreSQL, Ray, dashboard",
                   "goal": {"better": "less", "value": 6 * 1024}},
        "started": {"value": round(found["started"], 1), "unit": "s", "note": about},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", type=int, default=100 if QUICK else 1_000)
    parser.add_argument("--accounts", type=int, default=1)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--processes", type=int)
    chosen = parser.parse_args()
    found = uvloop.run(run(chosen.symbols, chosen.accounts, chosen.minutes, chosen.processes))
    sys.stdout.write(json.dumps(entries(chosen.symbols, found), indent=1) + "\n")


if __name__ == "__main__":
    main()
